"""Kills Pods of a Deployment or a StatefulSet without grace; their owner creates new ones.

The oldest ready Pods are killed first: they have served users the longest. A kill is a delete: it ignores
PodDisruptionBudgets, and a Pod of an unreachable node may keep running there. Effective when the killed Pods are gone.
Restored when as many are ready and served as before, or as desired now if that is fewer. Refused where no Pod is ready.
"""

import math
from typing import Any, Self

from pydantic import Field, model_validator

from chaos.errors import CannotInject, Foreign
from chaos.fault import Deadman, Fault, Recorded
from chaos.kube.cluster import Cluster
from chaos.kube.right import Right
from chaos.kube.workload import KINDS, Original, Selector, Workload, is_ready, staying
from chaos.target import Target
from contract.duration import Duration
from contract.strict import Strict


class Options(Strict):
    count: int | None = Field(default=None, ge=1, description="number of Pods; 1 without count and share")
    share: float | None = Field(
        default=None, gt=0, le=1, description="share of the Pods, rounded up; instead of count"
    )
    every: Duration | None = Field(
        default=None, gt=0, description="repeat the kill at this interval while the step lasts"
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.count is not None and self.share is not None:
            raise ValueError("give count or share, not both")
        return self

    def of(self, pods: int) -> int:
        """How many of `pods` to kill."""
        if self.share is None:
            return self.count or 1
        return math.ceil(round(self.share * pods, 6))  # 0.07 of 100 is 7.000000000000001


class Victim(Recorded):
    name: str
    uid: str


class State(Recorded):
    uid: str
    original: Original
    selector: Selector
    victims: list[Victim] | None = None


class PodKill(Fault):
    kinds = KINDS
    recorded = State
    options = Options
    deadman = Deadman.NOT_NEEDED

    def __init__(self, cluster: Cluster | None, target: Target, options: Options) -> None:
        assert cluster is not None
        self._cluster, self._options, self.every_s = cluster, options, options.every
        self._workload = Workload(cluster, target.handle)
        self._victims: list[dict[str, Any]] | None = None  # of an unfinished inject
        self._tried: set[str] = set()  # uids: those that are gone now, we have killed

    def snapshot(self) -> dict[str, Any]:
        workload = self._workload
        found = workload.read()
        uid, selector = found["metadata"]["uid"], found["spec"]["selector"]
        seen = workload.look(uid, selector)
        pods = _in_order(seen.pods)
        if not pods:
            raise CannotInject(f"{workload} has no live Pods: there is nothing to take away")
        count = self._options.of(len(pods))
        if count > len(pods):
            raise CannotInject(f"{workload} has {len(pods)} live Pods, but {count} should be killed")
        victims = [_named(p) for p in pods[:count]]
        return {
            "uid": uid,
            "original": workload.original(found, seen) | {"pods": [p["metadata"]["name"] for p in pods]},
            "set": {"killed": count},
            "selector": selector,
            "victims": victims,
        }

    def inject(self, state: dict[str, Any]) -> None:
        if self._victims is None:
            self._victims = self._next(state) if self._tried else state["victims"]
        killed = 0
        for victim in self._victims:
            # By uid: a repeated or late try does not kill another Pod of this name.
            uid, again = victim["uid"], victim["uid"] in self._tried
            self._tried.add(uid)
            killed += self._cluster.delete_pod(self._workload.namespace, victim["name"], uid, 0) or again
        self._victims = None
        if not killed:
            raise CannotInject(f"the Pods of {self._workload} were gone before they could be killed")

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        left = {p["metadata"]["uid"] for p in self._workload.pods(state["uid"], state["selector"])}
        gone = [v["name"] for v in state["victims"] if v["uid"] not in left]
        return {"killed": gone} if len(gone) == len(state["victims"]) else None

    def restore(self, state: dict[str, Any]) -> None:
        """Their owner creates new ones; this only verifies that the owner still exists and has replicas."""
        words = self._workload.abandoned(state["uid"])
        if words:
            raise Foreign(words)

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        seen = self._workload.back(state["original"])
        if seen is None:
            return None
        # Status and endpoints lag: just after the kill they may still count the killed Pods.
        now = self._workload.look(state["uid"], state["selector"])
        ready = {p["metadata"]["uid"] for p in staying(now.pods) if is_ready(p)}
        served = {uid for uid, serving in now.endpoints.items() if serving}
        if len(ready) < seen["ready"] or (state["original"]["endpoints"] and not ready & served):
            return None
        return seen

    @property
    def missing(self) -> str:
        return self._workload.missing

    def remarks(self, state: dict[str, Any]) -> list[str]:
        return self._workload.remarks(state["original"])

    def rights(self) -> list[Right]:
        kill = Right("delete", "", "pods", self._workload.namespace)
        return [*self._workload.rights(watched=False), kill]

    def _next(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        pods = _in_order(self._workload.pods(state["uid"], state["selector"]))
        if not pods:
            raise CannotInject(f"{self._workload} has no live Pods just now")
        return [_named(p) for p in pods[: self._options.of(len(pods))]]


def _in_order(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are not terminating, the oldest ready one first."""
    return sorted(
        staying(pods),
        key=lambda p: (not is_ready(p), p["metadata"]["creationTimestamp"], p["metadata"]["name"]),
    )


def _named(pod: dict[str, Any]) -> dict[str, Any]:
    return {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}


FAULT = PodKill

"""Scales a Deployment or a StatefulSet to so many replicas, and back to as many as there were.

Effective when no more live Pods than that are left and the endpoints agree: a Pod may take its whole
terminationGracePeriodSeconds, which is waited for as long as the step lasts. Mended when as many Pods are ready as were
before; a target of which none is ready is refused.
"""

import time
from collections.abc import Callable
from typing import Any

from pydantic import Field

from chaos import movers
from chaos.cluster import TROUBLE, Cluster
from chaos.fault import CannotInject, Deadman, Fault, Foreign, Handle, NotYet, Right
from chaos.workload import KINDS, Workload, grace_s, staying
from contract.strict import Strict

CONFLICTS = 5  # how often a write that met a newer version reads and judges again
WATCH_S = 5  # how long one watch lasts
PAUSE_S = 0.5


class Options(Strict):
    replicas: int = Field(ge=0)


class ScaleTo(Fault):
    kinds = KINDS
    options = Options
    deadman = Deadman.REAPER

    def __init__(self, cluster: Cluster | None, handle: Handle, options: Options) -> None:
        assert cluster is not None
        self._cluster, self._replicas = cluster, options.replicas
        self._workload = Workload(cluster, handle)
        self._tried = False
        self._version: str | None = None  # of our own write: what comes after it is somebody else's

    def snapshot(self) -> dict[str, Any]:
        workload = self._workload
        found = workload.read()
        replicas = found["spec"].get("replicas", 1)
        if not replicas:
            raise CannotInject(f"{workload} has no replicas: there is nothing to take away")
        if replicas == self._replicas:
            raise CannotInject(f"{workload} has {replicas} replicas already: there is nothing to change")
        uid, selector = found["metadata"]["uid"], found["spec"]["selector"]
        seen = workload.look(uid, selector)
        return {
            "uid": uid,
            "original": workload.original(found, seen),
            "set": {"replicas": self._replicas},
            "selector": selector,
            "grace_s": grace_s(seen.pods) if self._replicas < replicas else 0.0,
        }

    def inject(self, state: dict[str, Any]) -> None:
        for _ in range(CONFLICTS):
            scale = self._scale()
            if scale is None:
                raise CannotInject(f"{self._workload} was deleted since it was looked at")
            found = _replicas(scale)
            if scale["metadata"]["uid"] != state["uid"]:
                raise CannotInject(f"{self._workload} was re-created since it was looked at")
            if found == state["set"]["replicas"] and self._tried:
                self._version = scale["metadata"]["resourceVersion"]
                return  # an earlier try arrived, though its answer did not
            if found != state["original"]["replicas"]:
                raise CannotInject(
                    f"{self._workload} was scaled to {found} by someone else since it was looked at"
                )
            # Conditional on the version just read: a write that was held up on its way finds a conflict.
            self._tried = True
            done = self._cluster.set_scale(self._workload.kind, scale, state["set"]["replicas"])
            if done is not None:
                self._version = done["metadata"]["resourceVersion"]
                return
        raise CannotInject(
            f"{self._workload} is being changed by someone else: {CONFLICTS} conflicts in a row"
        )

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        wanted = state["set"]["replicas"]
        if wanted > state["original"]["replicas"]:
            ready = self._workload.ready_now()
            if ready is None or ready < wanted:
                raise NotYet(f"{ready or 0} of {wanted} Pods ready")
            return {"ready": ready}
        seen = self._workload.look(state["uid"], state["selector"])
        if len(seen.pods) > wanted or len(seen.endpoints) > wanted:
            going = len(seen.pods) - len(staying(seen.pods))
            raise NotYet(
                f"{len(seen.pods)} Pods are left, {going} of them terminating, which may take {grace_s(seen.pods):.0f} s; "
                f"endpoints of {len(seen.endpoints)}"
            )
        return {"pods": len(seen.pods), "endpoints": len(seen.endpoints)}

    def mend(self, state: dict[str, Any]) -> None:
        original = state["original"]["replicas"]
        assert original, "an original of nothing is never recorded"
        while True:
            scale = self._scale()
            words = self._foreign(scale, state)
            if words:
                raise Foreign(words)
            assert scale is not None, "what is gone is foreign"
            if _replicas(scale) == original:
                return
            if self._cluster.set_scale(self._workload.kind, scale, original) is not None:
                return

    def mended(self, state: dict[str, Any]) -> dict[str, Any] | None:
        more = state["set"]["replicas"] > state["original"]["replicas"]
        return self._workload.back(state["original"], no_more=more)

    def takes_s(self, state: dict[str, Any]) -> float:
        return float(state["grace_s"])

    def remarks(self, state: dict[str, Any]) -> list[str]:
        told = self._workload.remarks(state["original"])
        left, original = state["set"]["replicas"], state["original"]
        if original["ready"] <= left < original["replicas"]:
            told.append(
                f"a scale to {left} takes none away that serves: {original['ready']} Pods are ready, and others go first"
            )
        return told

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        workload, version = self._workload, self._version
        where = (workload.kind, workload.namespace, workload.name)
        while version is not None and not over():
            try:
                for event in self._cluster.watch_workload(*where, version, WATCH_S):
                    if over():
                        return None
                    if event["type"] == "ERROR":
                        # What came after our version is forgotten there: what is there now counts.
                        found = self._cluster.workload(*where)
                        event = {"type": "MODIFIED", "object": found} if found else {"type": "DELETED"}
                    if event["type"] == "DELETED":
                        return f"{workload} was deleted by someone else"
                    if event["type"] == "MODIFIED":
                        found = event["object"]
                        version = found["metadata"]["resourceVersion"]
                        if found["metadata"]["uid"] != state["uid"] or _of(found) != state["set"]["replicas"]:
                            return f"{workload} was scaled to {_of(found)} by someone else"
            except TROUBLE:
                time.sleep(PAUSE_S)
        return None

    def rights(self) -> list[Right]:
        return self._workload.rights("get", "patch")

    def others(self) -> list[str]:
        return movers.of(self._cluster, self._workload)

    def _scale(self) -> dict[str, Any] | None:
        return self._cluster.scale(self._workload.kind, self._workload.namespace, self._workload.name)

    def _foreign(self, scale: dict[str, Any] | None, state: dict[str, Any]) -> str | None:
        """Whether it is no longer what we left, in words."""
        if scale is None:
            return f"{self._workload} was deleted by someone else; there is nothing left to bring back"
        found = _replicas(scale)
        if scale["metadata"]["uid"] != state["uid"]:
            return f"{self._workload} was re-created; the new one has {found} replicas and is left alone"
        if found not in (state["original"]["replicas"], state["set"]["replicas"]):
            return f"{self._workload} was scaled to {found} by someone else and is left alone"
        return None


def _replicas(scale: dict[str, Any]) -> int:
    return scale["spec"].get("replicas") or 0  # at zero the field is omitted


def _of(workload: dict[str, Any]) -> int:
    return int(workload["spec"].get("replicas", 1))


FAULT = ScaleTo

"""A Deployment or a StatefulSet as the target of a fault."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chaos.errors import CannotInject, Foreign
from chaos.kube.answers import line
from chaos.kube.cluster import Cluster
from chaos.kube.right import Right
from chaos.target import Handle

KINDS = ("deployment", "statefulset")
_PLURAL = {"deployment": "deployments", "statefulset": "statefulsets"}
MOST_REPLICAS = 1000
"""Replicas of a target, and so the most to which a record in a Lease can make a restorer scale it."""
_HASH = "pod-template-hash"
_GRACE_S = 30  # the API server's default


class Expression(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] | None = None


class Selector(BaseModel):
    """A workload's `spec.selector`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    matchLabels: dict[str, str] | None = None
    matchExpressions: list[Expression] | None = None


class Original(BaseModel):
    """What `Workload.original` returns. Where `ready` is missing or invalid, the restore is verified by all replicas."""

    model_config = ConfigDict(extra="allow", strict=True)

    replicas: int = Field(ge=1, le=MOST_REPLICAS)
    endpoints: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Seen:
    """The Pods of a workload and their endpoints, at one time."""

    pods: list[dict[str, Any]]  # the live ones, including terminating ones
    endpoints: dict[
        str, bool
    ]  # uid of each Pod that a Service lists: whether it is ready in all of its lists


class Workload:
    """One workload of a cluster, by its handle."""

    def __init__(self, cluster: Cluster, handle: Handle) -> None:
        assert handle.kind in KINDS
        self.cluster, self.kind = cluster, handle.kind
        self.missing = "not ready"  # what `back` lacked at its last call
        self.namespace, self.name = handle.name.split("/")
        self._uids: set[str] = (
            set()
        )  # of all its Pods that were ever seen: a list of endpoints may outlive them
        # Uid and desired replicas, first seen …
        self._desired: tuple[str, int] | None = None
        self._since = 0  # … at this generation

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    def read(self) -> dict[str, Any]:
        """Its current state. Raises CannotInject where there is none."""
        found = self.cluster.workload(self.kind, self.namespace, self.name)
        if found is None:
            raise CannotInject(f"there is no {self}")
        return found

    def pods(self, uid: str, selector: dict[str, Any]) -> list[dict[str, Any]]:
        """Its live Pods, including terminating ones; `uid` is the workload's."""
        found = self.cluster.pods(self.namespace, selector)
        # After the Pods, so that the ReplicaSet of each listed Pod exists.
        sets = (
            self.cluster.replica_sets(self.namespace, selector) if self.kind == "deployment" and found else []
        )
        ours = [p for p in found if owns(self.kind, self.name, uid, p, sets)]
        self._uids |= {p["metadata"]["uid"] for p in ours}
        return ours

    def look(self, uid: str, selector: dict[str, Any]) -> Seen:
        """Its Pods and their endpoints, also the endpoints of Pods that have gone since they were seen."""
        pods = self.pods(uid, selector)
        endpoints: dict[str, bool] = {}
        for one in self.cluster.endpoints(self.namespace):
            if one["pod"] in self._uids:
                endpoints[one["pod"]] = endpoints.get(one["pod"], True) and one["ready"]
        return Seen(pods, endpoints)

    def written(self) -> None:
        """Call after our own write: its status describes earlier replicas."""
        self._desired = None

    def original(self, found: dict[str, Any], seen: Seen) -> dict[str, Any]:
        """Its state before a fault, for the undo record. Raises CannotInject where none of its Pods is ready: a fault would have
        no effect on users, and a restore could not be verified."""
        replicas, ready = found["spec"].get("replicas", 1), sum(is_ready(p) for p in staying(seen.pods))
        if not ready:
            raise CannotInject(f"{self} has 0 of {replicas} Pods ready: there is nothing to take away")
        if replicas > MOST_REPLICAS:
            raise CannotInject(f"{self} has {replicas} replicas; at most {MOST_REPLICAS} are restored")
        return {"replicas": replicas, "ready": ready, "endpoints": sum(seen.endpoints.values())}

    def remarks(self, original: dict[str, Any]) -> list[str]:
        """Whether it was not fully ready, or in a rollout, before a fault. Raises API_ERRORS and CannotInject."""
        found, replicas, ready = [], original["replicas"], original["ready"]
        if ready < replicas:
            found.append(
                f"{self} is not fully ready: {ready} of {replicas} Pods ready; restored means {ready} ready"
            )
        if self.kind != "deployment":
            return found  # a StatefulSet's strategy may keep Pods of an older template indefinitely
        updated = self.read().get("status", {}).get("updatedReplicas", 0)
        if updated < replicas:
            found.append(
                f"a rollout of {self} is in progress: {updated} of {replicas} Pods have its current template; "
                "let it finish first, otherwise the restored target differs from the original"
            )
        return found

    def back(self, original: dict[str, Any], no_more: bool = False) -> dict[str, Any] | None:
        """What was seen, once as many Pods are ready as before, or as desired now if that is fewer, and are served if they were.
        None: not yet. Raises Foreign where it was deleted: it will never be back.

        `no_more`: the Pods that a fault had added must be gone too.
        """
        found = self.cluster.workload(self.kind, self.namespace, self.name)
        if found is None:
            raise Foreign(self._deleted())
        if not self._has_seen(found):
            self.missing = "its controller has not observed its replicas yet"
            return None
        desired = max(1, found["spec"].get("replicas", 1))
        seen = self.look(found["metadata"]["uid"], found["spec"]["selector"])
        # The Pods themselves: a status may be late for as long as a storm of writes lasts.
        live = sum(is_ready(p) for p in seen.pods)
        ready = sum(is_ready(p) for p in staying(seen.pods))
        least = min(desired, _before(original) or desired)
        if ready < least:
            why = _denied(found)
            self.missing = f"{ready} of {least} Pods ready{f': {why}' if why else ''}"
            return None
        # A StatefulSet's Pod counts until it is gone; a Deployment's surge may belong to someone's rollout.
        if (self.kind == "statefulset" and live > desired) or (no_more and ready > desired):
            self.missing = f"{live} Pods ready, {desired} desired"
            return None
        self.missing = "its Pods are ready, but no Service routes to them yet"
        endpoints = sum(seen.endpoints.values())
        if original["endpoints"] and not endpoints:
            return None
        state: dict[str, Any] = {"ready": ready, "endpoints": endpoints}
        before = original.get("replicas")
        if isinstance(before, int) and desired < before:
            state["fewer"] = f"{desired} replicas are desired now, {before} before the fault"
        return state

    def _has_seen(self, found: dict[str, Any]) -> bool:
        """Whether its controller has observed the desired replicas: until then it may still remove Pods.

        It need not have observed the newest generation. A Deployment's generation increases with each annotation, so that
        during many of them the two are never equal.
        """
        desired = found["metadata"]["uid"], int(found["spec"].get("replicas", 1))
        if self._desired != desired:
            self._desired, self._since = desired, int(found["metadata"].get("generation", 0))
        return bool(found.get("status", {}).get("observedGeneration", 0) >= self._since)

    def abandoned(self, uid: str) -> str | None:
        """Why a fault has lost its target to someone else, in words; None: it has not. For faults that do not change the
        replicas: at zero, someone else has scaled it."""
        found = self.cluster.workload(self.kind, self.namespace, self.name)
        if found is None:
            return self._deleted()
        if found["metadata"]["uid"] != uid:
            return f"{self} was re-created by someone else; the new one is left alone"
        if found["spec"].get("replicas", 1) == 0:
            return f"{self} was scaled to 0 by someone else and is left alone"
        return None

    def _deleted(self) -> str:
        return f"{self} was deleted by someone else; there is nothing left to restore"

    def rights(self, *verbs_of_scale: str, watched: bool = True) -> list[Right]:
        """To read it, and `verbs_of_scale` on its scale."""
        plural = _PLURAL[self.kind]
        found = [Right(v, "apps", f"{plural}/scale", self.namespace, self.name) for v in verbs_of_scale]
        found += [
            Right(v, "apps", plural, self.namespace, self.name)
            for v in ("get", *(["watch"] if watched else []))
        ]
        found.append(Right("list", "", "pods", self.namespace))
        if self.kind == "deployment":
            found.append(Right("list", "apps", "replicasets", self.namespace))
        found.append(Right("list", "discovery.k8s.io", "endpointslices", self.namespace))
        return found


def owns(kind: str, name: str, uid: str, pod: dict[str, Any], sets: Iterable[dict[str, Any]]) -> bool:
    """Whether a workload owns a Pod that its selector selects, by the owner references. Pure.

    Names do not show it: those of Pods are truncated, and adopted Pods and ReplicaSets may have other names. Selectors do
    not show it either: those of two workloads may overlap. `sets`: the ReplicaSets that the selector selects.
    """
    owner = controller(pod)
    if owner is None:
        return False
    if kind == "statefulset":
        return bool(owner["uid"] == uid)
    for one in sets:
        if one["metadata"]["uid"] == owner["uid"]:
            return (controller(one) or {}).get("uid") == uid
    # Its ReplicaSet is no longer in the Deployment's history, and its last Pods are terminating. That name is not truncated.
    hash_ = (pod["metadata"].get("labels") or {}).get(_HASH)
    return owner["kind"] == "ReplicaSet" and owner["name"] == f"{name}-{hash_}"


def staying(pods: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are not terminating."""
    return [p for p in pods if "deletionTimestamp" not in p["metadata"]]


def is_ready(found: dict[str, Any]) -> bool:
    """Of a Pod or a node."""
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions") or ()
    )


def grace_s(pods: Iterable[dict[str, Any]]) -> float:
    """The longest termination time of these Pods after a delete, in seconds."""
    return float(
        max(
            (
                p["metadata"].get(
                    "deletionGracePeriodSeconds", p["spec"].get("terminationGracePeriodSeconds", _GRACE_S)
                )
                for p in pods
            ),
            default=0,
        )
    )


def controller(found: dict[str, Any]) -> dict[str, Any] | None:
    """The owner reference of the object's controller."""
    owners: list[dict[str, Any]] = found["metadata"].get("ownerReferences") or []
    return next((o for o in owners if o.get("controller")), None)


def _denied(found: dict[str, Any]) -> str:
    """Why no Pod can be created (a quota, an admission policy), from a Deployment's status; empty: it can. A StatefulSet
    does not report it."""
    for condition in found.get("status", {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return line(str(condition.get("message")))
    return ""


def _before(original: dict[str, Any]) -> int | None:
    """How many Pods were ready before the fault. None: the record is older, or someone has damaged it. The restore is then
    verified by the stricter criterion, all desired replicas."""
    ready = original.get("ready")
    return ready if isinstance(ready, int) and not isinstance(ready, bool) and ready > 0 else None

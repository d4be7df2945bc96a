"""A Deployment or a StatefulSet, as the faults that take hold of one see it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chaos.errors import CannotInject, Foreign
from chaos.kube.answers import line
from chaos.kube.cluster import Cluster
from chaos.kube.right import Right
from chaos.target import Handle

KINDS = ("deployment", "statefulset")
_PLURAL = {"deployment": "deployments", "statefulset": "statefulsets"}
_HASH = "pod-template-hash"
_GRACE_S = 30  # as the API server fills it in


@dataclass(frozen=True, slots=True)
class Seen:
    """The Pods of a workload and where they are served, at one look."""

    pods: list[dict[str, Any]]  # those that live, terminating ones included
    endpoints: dict[
        str, bool
    ]  # uid of each Pod that a Service lists: whether it is ready in all of its lists


class Workload:
    """One workload of a cluster, by its handle."""

    def __init__(self, cluster: Cluster, handle: Handle) -> None:
        assert handle.kind in KINDS
        self.cluster, self.kind = cluster, handle.kind
        self.missing = "not ready"  # what `back` lacked when it last looked
        self.namespace, self.name = handle.name.split("/")
        self._uids: set[str] = (
            set()
        )  # of all its Pods that were ever seen: a list of endpoints may outlive them
        # Uid and replicas, as they were first seen to be wanted …
        self._wanted: tuple[str, int] | None = None
        self._since = 0  # … at this generation

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    def read(self) -> dict[str, Any]:
        """As it is now. Raises CannotInject where there is none."""
        found = self.cluster.workload(self.kind, self.namespace, self.name)
        if found is None:
            raise CannotInject(f"there is no {self}")
        return found

    def pods(self, uid: str, selector: dict[str, Any]) -> list[dict[str, Any]]:
        """Its living Pods, terminating ones included; `uid` is the workload's."""
        found = self.cluster.pods(self.namespace, selector)
        # After the Pods, so that none is listed whose ReplicaSet is not yet there.
        sets = (
            self.cluster.replica_sets(self.namespace, selector) if self.kind == "deployment" and found else []
        )
        ours = [p for p in found if owns(self.kind, self.name, uid, p, sets)]
        self._uids |= {p["metadata"]["uid"] for p in ours}
        return ours

    def look(self, uid: str, selector: dict[str, Any]) -> Seen:
        """Its Pods, and where Services would send traffic of them: of those, too, that have gone since they were seen."""
        pods = self.pods(uid, selector)
        endpoints: dict[str, bool] = {}
        for one in self.cluster.endpoints(self.namespace):
            if one["pod"] in self._uids:
                endpoints[one["pod"]] = endpoints.get(one["pod"], True) and one["ready"]
        return Seen(pods, endpoints)

    def written(self) -> None:
        """After a write of ours to it: what its status says of earlier replicas says nothing of these."""
        self._wanted = None

    def original(self, found: dict[str, Any], seen: Seen) -> dict[str, Any]:
        """How it is before a fault, for the undo record. Raises CannotInject where none of its Pods is ready: nothing
        could be taken away from anybody, and nothing would prove that it is back."""
        replicas, ready = found["spec"].get("replicas", 1), sum(is_ready(p) for p in staying(seen.pods))
        if not ready:
            raise CannotInject(f"{self} has 0 of {replicas} Pods ready: there is nothing to take away")
        return {"replicas": replicas, "ready": ready, "endpoints": sum(seen.endpoints.values())}

    def remarks(self, original: dict[str, Any]) -> list[str]:
        """Where it was not whole, or not settled, before a fault. Raises API_ERRORS and CannotInject."""
        told, replicas, ready = [], original["replicas"], original["ready"]
        if ready < replicas:
            told.append(
                f"{self} is not fully ready: {ready} of {replicas} Pods ready; restored means {ready} ready"
            )
        if self.kind != "deployment":
            return told  # of a StatefulSet some Pods may be of an older template for ever, by its strategy
        updated = self.read().get("status", {}).get("updatedReplicas", 0)
        if updated < replicas:
            told.append(
                f"a rollout of {self} is in progress: {updated} of {replicas} Pods have its current template; "
                "let it finish first, otherwise the restored target differs from the original"
            )
        return told

    def back(self, original: dict[str, Any], no_more: bool = False) -> dict[str, Any] | None:
        """Whether as many Pods are ready as were before, or as are wanted now where that is fewer, and are served where
        they were: what was seen. Raises Foreign where it was deleted: nothing will ever be back.

        `no_more`: what a fault had added has gone, too.
        """
        found = self.cluster.workload(self.kind, self.namespace, self.name)
        if found is None:
            raise Foreign(self._deleted())
        if not self._has_seen(found):
            self.missing = "its controller has not observed its replicas yet"
            return None
        wanted = max(1, found["spec"].get("replicas", 1))
        seen = self.look(found["metadata"]["uid"], found["spec"]["selector"])
        # The Pods themselves: under a storm of writes a status may be late for as long as it lasts.
        live = sum(is_ready(p) for p in seen.pods)
        ready = sum(is_ready(p) for p in staying(seen.pods))
        least = min(wanted, _before(original) or wanted)
        if ready < least:
            why = _denied(found)
            self.missing = f"{ready} of {least} Pods ready{f': {why}' if why else ''}"
            return None
        # A StatefulSet's Pod counts until it has gone; a Deployment's surge, though, may be somebody's rollout.
        if (self.kind == "statefulset" and live > wanted) or (no_more and ready > wanted):
            self.missing = f"{live} Pods ready, {wanted} desired"
            return None
        self.missing = "its Pods are ready, but no Service routes to them yet"
        endpoints = sum(seen.endpoints.values())
        if original["endpoints"] and not endpoints:
            return None
        told: dict[str, Any] = {"ready": ready, "endpoints": endpoints}
        before = original.get("replicas")
        if isinstance(before, int) and wanted < before:
            told["fewer"] = f"{wanted} replicas are desired now, {before} before the fault"
        return told

    def _has_seen(self, found: dict[str, Any]) -> bool:
        """Whether its controller has seen that so many replicas are wanted: until then it may still take Pods away.

        Not whether it has seen the newest generation. A Deployment's goes up with each of its annotations, so that under a
        storm of them the two are never equal.
        """
        wanted = found["metadata"]["uid"], int(found["spec"].get("replicas", 1))
        if self._wanted != wanted:
            self._wanted, self._since = wanted, int(found["metadata"].get("generation", 0))
        return bool(found.get("status", {}).get("observedGeneration", 0) >= self._since)

    def abandoned(self, uid: str) -> str | None:
        """Whether someone else has taken away what a fault took hold of, in words. For faults that leave the replicas
        as they are: what is at zero was scaled there by another."""
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
        """To look at it, and to do with its scale what is asked for."""
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
    """Whether a workload owns a Pod that its selector selects, by the references to owners. Pure.

    Names do not tell: those of Pods are cut, and Pods and ReplicaSets may have been adopted under other names. Selectors
    do not either: two workloads' may overlap. `sets`: the ReplicaSets that the selector selects.
    """
    owner = controller(pod)
    if owner is None:
        return False
    if kind == "statefulset":
        return bool(owner["uid"] == uid)
    for one in sets:
        if one["metadata"]["uid"] == owner["uid"]:
            return (controller(one) or {}).get("uid") == uid
    # It was dropped from the Deployment's history, and its last Pods are on their way out. Its own name is not cut.
    hash_ = (pod["metadata"].get("labels") or {}).get(_HASH)
    return owner["kind"] == "ReplicaSet" and owner["name"] == f"{name}-{hash_}"


def staying(pods: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are not on their way out."""
    return [p for p in pods if "deletionTimestamp" not in p["metadata"]]


def is_ready(found: dict[str, Any]) -> bool:
    """Of a Pod, and of a node."""
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions") or ()
    )


def grace_s(pods: Iterable[dict[str, Any]]) -> float:
    """The longest that one of these Pods may take to end, in seconds, once it is deleted."""
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
    """The reference to the one owner that controls an object."""
    owners: list[dict[str, Any]] = found["metadata"].get("ownerReferences") or []
    return next((o for o in owners if o.get("controller")), None)


def _denied(found: dict[str, Any]) -> str:
    """Why no Pod can be made (a quota, an admission policy), in the words of a Deployment's status; empty: it can. A
    StatefulSet does not tell."""
    for condition in found.get("status", {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return line(str(condition.get("message")))
    return ""


def _before(original: dict[str, Any]) -> int | None:
    """How many Pods were ready before the fault. None: an older record, or one that somebody has spoiled; the restore is
    then verified by the stricter measure, for it must be made all the same."""
    ready = original.get("ready")
    return ready if isinstance(ready, int) and not isinstance(ready, bool) and ready > 0 else None

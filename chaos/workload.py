"""A Deployment or a StatefulSet, as the faults that take hold of one see it."""

from typing import Any

from chaos.cluster import Cluster
from chaos.fault import CannotInject, Handle, Right

KINDS = ("deployment", "statefulset")
_PLURAL = {"deployment": "deployments", "statefulset": "statefulsets"}


class Workload:
    """One workload of a cluster, by its handle."""

    def __init__(self, cluster: Cluster, handle: Handle) -> None:
        assert handle.kind in KINDS
        self.cluster, self.kind = cluster, handle.kind
        self.namespace, self.name = handle.name.split("/")

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    def read(self) -> dict[str, Any]:
        """As it is now. Raises CannotInject where there is none."""
        found = self.cluster.workload(self.kind, self.namespace, self.name)
        if found is None:
            raise CannotInject(f"there is no {self}")
        return found

    def pods(self, selector: dict[str, Any]) -> list[dict[str, Any]]:
        """Its living Pods, terminating ones included."""
        return [
            p for p in self.cluster.pods(self.namespace, selector) if self._is_ours(p["metadata"]["name"])
        ]

    def endpoints(self) -> list[dict[str, Any]]:
        """Where Services would send traffic of its Pods: {pod, ready}."""
        return [e for e in self.cluster.endpoints(self.namespace) if self._is_ours(e["pod"])]

    def ready_now(self) -> int | None:
        """How many Pods are ready; None: there is no such workload, or its status is older than its spec."""
        found = self.cluster.workload(self.kind, self.namespace, self.name)
        return None if found is None else _ready(found)

    def back(self, original: dict[str, Any], no_more: bool = False) -> dict[str, Any] | None:
        """Whether as many Pods are ready as are wanted now, and are served where they were: what was seen.

        `no_more`: what a fault had added has gone, too.
        """
        found = self.cluster.workload(self.kind, self.namespace, self.name)
        ready = None if found is None else _ready(found)
        wanted = max(1, found["spec"].get("replicas", 1)) if found else 1
        if ready is None or ready < wanted:
            return None
        # A StatefulSet counts a Pod until it has gone; a Deployment's surge, though, may be somebody's rollout.
        if ready > wanted and (no_more or self.kind == "statefulset"):
            return None
        endpoints = sum(e["ready"] for e in self.endpoints())
        return {"ready": ready, "endpoints": endpoints} if endpoints or not original["endpoints"] else None

    def abandoned(self, uid: str) -> str | None:
        """Whether someone else has taken away what a fault took hold of, in words. For faults that leave the replicas
        as they are: what is at zero was scaled there by another."""
        found = self.cluster.workload(self.kind, self.namespace, self.name)
        if found is None:
            return f"{self} was deleted by someone else; there is nothing left to bring back"
        if found["metadata"]["uid"] != uid:
            return f"{self} was re-created by someone else; the new one is left alone"
        if found["spec"].get("replicas", 1) == 0:
            return f"{self} was scaled to 0 by someone else and is left alone"
        return None

    def rights(self, *verbs_of_scale: str, watched: bool = True) -> list[Right]:
        """To look at it, and to do with its scale what is asked for."""
        plural = _PLURAL[self.kind]
        found = [Right(v, "apps", f"{plural}/scale", self.namespace, self.name) for v in verbs_of_scale]
        found += [
            Right(v, "apps", plural, self.namespace, self.name)
            for v in ("get", *(["watch"] if watched else []))
        ]
        found.append(Right("list", "", "pods", self.namespace))
        found.append(Right("list", "discovery.k8s.io", "endpointslices", self.namespace))
        return found

    def _is_ours(self, pod: str) -> bool:
        # <deployment>-<replica set>-<pod>, <stateful set>-<number>; another workload's name may begin alike.
        return pod.rsplit("-", 2 if self.kind == "deployment" else 1)[0] == self.name


def _ready(found: dict[str, Any]) -> int | None:
    status = found.get("status", {})
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return None
    return int(status.get("readyReplicas", 0))  # absent at zero

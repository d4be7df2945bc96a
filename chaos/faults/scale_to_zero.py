"""Scales a Deployment to zero replicas, and back to as many as there were.

Effective when no live Pods are left and the endpoints are empty; mended when the ready replicas are back.
"""

from typing import Any

from chaos.cluster import Cluster
from chaos.fault import CannotInject, Foreign

CONFLICTS = 5  # how often a write that met a newer version reads and judges again


class ScaleToZero:
    handle = "deployment"
    deadman = "none yet: only on the embedded stack, which goes down with its Leases past their deadlines"

    def __init__(self, cluster: Cluster, handle: str) -> None:
        self._cluster = cluster
        self._namespace, self._name = handle.split("/")

    def snapshot(self) -> dict[str, Any]:
        deployment = self._cluster.deployment(self._namespace, self._name)
        replicas = deployment["spec"].get("replicas", 1)
        if not replicas:
            raise CannotInject(f"{self._what} has no replicas: there is nothing to take away")
        return {
            "uid": deployment["metadata"]["uid"],
            "original": {"replicas": replicas},
            "set": {"replicas": 0},
            "selector": deployment["spec"]["selector"]["matchLabels"],
        }

    def inject(self, undo: dict[str, Any]) -> None:
        for _ in range(CONFLICTS):
            scale = self._cluster.scale(self._namespace, self._name)
            found = scale["spec"].get("replicas") or 0  # at zero the field is omitted
            if scale["metadata"]["uid"] != undo["uid"]:
                raise CannotInject(f"{self._what} was re-created since it was looked at")
            if found != undo["original"]["replicas"]:
                raise CannotInject(
                    f"{self._what} was scaled to {found} by someone else since it was looked at"
                )
            # Conditional on the version just read: a write that was held up on its way finds a conflict.
            if self._cluster.set_scale(scale, undo["set"]["replicas"]):
                return
        raise CannotInject(f"{self._what} is being changed by someone else: {CONFLICTS} conflicts in a row")

    def effective(self, undo: dict[str, Any]) -> dict[str, Any] | None:
        pods = self._cluster.live_pods(self._namespace, undo["selector"])
        endpoints = self._cluster.endpoints(self._namespace, self._name)
        return {"pods": 0, "endpoints": 0} if not pods and not endpoints else None

    def mend(self, undo: dict[str, Any]) -> None:
        original = undo["original"]["replicas"]
        assert original, "an original of nothing is never recorded"
        while True:
            scale = self._cluster.scale(self._namespace, self._name)
            found = scale["spec"].get("replicas") or 0
            if scale["metadata"]["uid"] != undo["uid"]:
                raise Foreign(
                    f"{self._what} was re-created; the new one has {found} replicas and is left alone"
                )
            if found == original:
                return
            if found != undo["set"]["replicas"]:
                raise Foreign(f"{self._what} was scaled to {found} by someone else and is left alone")
            if self._cluster.set_scale(scale, original):
                return

    def mended(self, undo: dict[str, Any]) -> dict[str, Any] | None:
        wanted = undo["original"]["replicas"]
        deployment = self._cluster.deployment(self._namespace, self._name)
        status = deployment.get("status", {})
        current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        ready = status.get("readyReplicas", 0)  # absent at zero
        if not current or ready < wanted:
            return None
        endpoints = [e for e in self._cluster.endpoints(self._namespace, self._name) if e["ready"]]
        return {"ready": ready, "endpoints": len(endpoints)} if endpoints else None

    @property
    def _what(self) -> str:
        return f"deployment {self._namespace}/{self._name}"


make = ScaleToZero

"""A Kubernetes cluster on one machine: the store, the controllers and the kubelet, whose Pods are processes.

Create, use and close it inside one running event loop. Call `close`, or the Pods live as long as the loop's thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from embedded.apiserver.controllers import Controllers
from embedded.apiserver.errors import ApiError
from embedded.apiserver.kserve import KServe
from embedded.apiserver.kubelet import Kubelet
from embedded.apiserver.node import manifest as node
from embedded.apiserver.options import Options
from embedded.apiserver.pod import PID
from embedded.apiserver.probe import PERIOD_S
from embedded.apiserver.resources import LEASES, NAMESPACES, PODS, supported
from embedded.apiserver.rights import Identity
from embedded.apiserver.store import Object, Store
from embedded.apiserver.writes import Writes

# The label of kube-system that marks the cluster as embedded.
EMBEDDED = "brownout.dev/embedded"


class Cluster:
    """State and controllers; `server.serve` serves its API."""

    def __init__(
        self,
        tokens: Sequence[Identity] = (),
        *,
        log_dir: Path | None = None,
        now: Callable[[], float] = time.time,
        controller_delay_s: float = 0.01,
        restart_backoff_s: tuple[float, float] = (0.5, 10.0),
        probe_period_s: float = PERIOD_S,
        event_log: int = 2000,
        keda: bool = False,
        kserve: bool = False,
    ) -> None:
        """`keda`: serves ScaledObjects, which have no effect. `kserve`: serves InferenceServices, with the controller in
        kserve.py. Without them, those API groups do not exist."""
        self.tokens = tuple(tokens)
        self.supported = supported(keda, kserve)
        self.store = Store(event_log)
        self.controllers = Controllers(self.store, now, controller_delay_s)
        self.writes = Writes(self.store, self.controllers)
        self.kubelet = Kubelet(
            self.store, now, log_dir, controller_delay_s, restart_backoff_s, probe_period_s
        )
        self._kserve = KServe(self.store, self.writes, self.controllers) if kserve else None
        listeners = (self.controllers, self.kubelet, *((self._kserve,) if self._kserve else ()))
        self._unlisten = [self.store.listen(each.on_event) for each in listeners]
        # The pid lets a restore detect whether the cluster still exists.
        system = {"name": "kube-system", "labels": {EMBEDDED: "true"}, "annotations": {PID: str(os.getpid())}}
        for meta in ({"name": "default"}, system, {"name": "kube-node-lease"}):
            self.apply({"kind": "Namespace", "apiVersion": "v1", "metadata": meta})
        self.apply(node())

    def apply(self, manifest: Object) -> Object:
        """Creates the object, or replaces the existing one. Raises ValueError for unsupported kinds."""
        resource = self.supported.by_kind.get((manifest.get("apiVersion", ""), manifest.get("kind", "")))
        if resource is None or not {"create", "update"} & set(resource.verbs):
            raise ValueError(
                f"{manifest.get('apiVersion')} {manifest.get('kind')}: this kind cannot be applied here"
            )
        namespace = manifest["metadata"].get("namespace", "default") if resource.namespaced else ""
        options = Options(validation="Strict", manager="kubectl-client-side-apply")
        if self.store.get(resource, namespace, manifest["metadata"]["name"]) is None:
            return self.writes.create(resource, namespace, manifest, options)
        if "update" not in resource.verbs:
            raise ValueError(f"{resource.kind} {manifest['metadata']['name']} already exists")
        return self.writes.replace(resource, namespace, manifest["metadata"]["name"], manifest, options)[1]

    @property
    def uid(self) -> str:
        """The identity of the cluster: the uid of kube-system, new with every cluster."""
        system = self.store.get(NAMESPACES, "", "kube-system")
        assert system is not None
        return str(system["metadata"]["uid"])

    def pid_of(self, pod_name: str, namespace: str | None = None) -> int | None:
        """The process of a Pod; None if it has none, or if the Pod does not exist."""
        for pod in self.store.list(PODS, namespace):
            if pod["metadata"]["name"] == pod_name:
                pid = (pod["metadata"].get("annotations") or {}).get(PID)
                return int(pid) if pid else None
        return None

    def held_leases(self) -> list[dict[str, Any]]:
        """The Leases that exist now, as stored: holder, duration, times and annotations."""
        return self.store.list(LEASES)

    async def close(self, grace_s: float | None = None) -> None:
        """Ends every Pod, with its own grace period or `grace_s`; returns when all their processes have ended."""
        if self._kserve is not None:
            await self._kserve.close()
        await self.controllers.close()
        while self._unlisten:
            self._unlisten.pop()()
        await self.kubelet.close(grace_s)


__all__ = ["EMBEDDED", "ApiError", "Cluster", "Identity"]

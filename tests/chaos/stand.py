"""A small embedded cluster for the tests of chaos: one Deployment whose Pod is a simulated engine."""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.cluster import Cluster as Client
from contract import topology
from contract.topology import Topology
from embedded.apiserver.cluster import Cluster, Identity
from embedded.apiserver.kubeconfig import write
from embedded.apiserver.server import serve
from embedded.ports import Reserved

ROOT = Path(__file__).parent.parent.parent
TOKEN = "a-token-of-the-tests"


class Stand:
    """Runs the API server in a thread; `trouble` is a middleware that a test may set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trouble: Callable[..., Any] | None = None
        self._reserved = Reserved()
        self.port = self._reserved.port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = self._call(self._up())
        self.kubeconfig = folder / "kubeconfig"
        write(self.kubeconfig, self.url, TOKEN, "ml")
        self.client = Client(str(self.kubeconfig))
        until(lambda: self.ready() == 1, "the engine's Pod is ready")

    def topology(self) -> Topology:
        """One tier, asked directly as if it were the gateway."""
        url = f"http://127.0.0.1:{self.port}"
        return topology.read_text(
            f"""
cluster: {self.cluster.uid}
kubeconfig: {self.kubeconfig}
gateway: {{url: "{url}", model: tiny}}
tiers:
  - {{name: vllm, match: {{group: tiny}}, url: "{url}", model: tiny, health: "{url}/health", handles: {{deployment: ml/vllm-server}}}}
"""
        )

    def write_topology(self) -> Path:
        path = self.folder / "topology.yaml"
        path.write_text(topology.dump(self.topology()))
        return path

    def deployment(self) -> dict[str, Any]:
        return self.client.deployment("ml", "vllm-server")

    def replicas(self) -> int:
        return self.deployment()["spec"]["replicas"]

    def ready(self) -> int:
        return self.deployment().get("status", {}).get("readyReplicas", 0)

    def scale(self, replicas: int) -> None:
        assert self.client.set_scale(self.client.scale("ml", "vllm-server"), replicas)

    def leases(self) -> list[dict[str, Any]]:
        return self.client.leases("ml", "app.kubernetes.io/managed-by=brownout")

    def back(self) -> None:
        """As it was, whatever a test did."""
        self.trouble = None
        for held in self.leases():
            self.client.delete_lease("ml", held["metadata"]["name"], held["metadata"]["uid"])
        if self.replicas() != 1:
            self.scale(1)
        until(lambda: self.ready() == 1, "the engine's Pod is ready again")

    def close(self) -> None:
        self._call(self.cluster.close())
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _up(self) -> str:
        from aiohttp import web

        @web.middleware
        async def trouble(request: web.Request, handler: Any) -> Any:
            if self.trouble is not None:
                return await self.trouble(request, handler)
            return await handler(request)

        self.cluster = Cluster([Identity("admin", TOKEN, admin=True)], log_dir=self.folder)
        self._runner, port = await serve(self.cluster, middlewares=[trouble])
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ml"}})
        labels = {"app": "vllm-server"}
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "vllm-server", "namespace": "ml"},
                "spec": {"selector": labels, "ports": [{"port": self.port}]},
            }
        )
        command = [sys.executable, "-m", "embedded.engine", "--personality", "vllm", "--model", "tiny"]
        container = {
            "name": "server",
            "image": "embedded",
            "command": [*command, "--port", str(self.port), "--time-to-first-token", "5ms"],
            "env": [{"name": "PYTHONPATH", "value": str(ROOT)}],
            "ports": [{"containerPort": self.port}],
            "readinessProbe": {"httpGet": {"path": "/health", "port": self.port}},
        }
        self.manifest = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "vllm-server", "namespace": "ml"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
        self.cluster.apply(self.manifest)
        return f"http://127.0.0.1:{port}"


def until(holds: Callable[[], Any], what: str, within_s: float = 20.0) -> Any:
    """Wait for a condition; the test fails with its words when it does not come."""
    over = time.monotonic() + within_s
    while not (seen := holds()):
        assert time.monotonic() < over, f"not within {within_s} s: {what}"
        time.sleep(0.02)
    return seen


def events(folder: Path) -> list[dict[str, Any]]:
    path = folder / "chaos.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

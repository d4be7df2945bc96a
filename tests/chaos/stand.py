"""A small embedded cluster for the tests of chaos: one Deployment whose Pod is a simulated engine."""

import asyncio
import contextlib
import json
import secrets
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chaos import faults
from chaos.faults.node_drain import OURS
from chaos.kube.cluster import Cluster as Client
from chaos.kube.names import LABEL
from chaos.target import Handle
from chaos.undo.journal import Undo
from contract import topology
from contract.handles.node import LOCKS
from contract.topology import Topology
from embedded.apiserver.cluster import EMBEDDED, Cluster, Identity
from embedded.apiserver.kubeconfig import write
from embedded.apiserver.options import Options
from embedded.apiserver.resources import DEPLOYMENTS, NAMESPACES
from embedded.apiserver.server import serve
from embedded.ports import Reserved
from tests.chaos.targets import on

ROOT = Path(__file__).parent.parent.parent
TOKEN = "a-token-of-the-tests"
LONG = """
hypothesis: it comes back whatever happens to us
baseline: 0s
settle: 0s
max: 5m
steps: [{name: gaming, at: 0s, for: 120s, fault: scale_to_zero, target: vllm}]
"""


class Stand:
    """Runs the API server in a thread; `intercept` is a middleware that a test may set."""

    fault = "scale_to_zero"  # the fault of the tests that inject one

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.intercept: Callable[..., Any] | None = None
        self.pidfile = folder / "engine.pid"
        self.flag = folder / "taken-away-by-a-command"
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

    def topology(self, url: str | None = None) -> Topology:
        """One tier that gets the requests directly, as if it were the gateway; by default at its engine's address."""
        url = url or f"http://127.0.0.1:{self.port}"
        return topology.read_text(
            f"""
cluster: {self.cluster.uid}
kubeconfig: {self.kubeconfig}
gateway: {{url: "{url}", model: tiny}}
tiers:
  - {{name: vllm, match: {{group: tiny}}, url: "{url}", model: tiny, health: "{url}/health",
     handles: {{deployment: ml/vllm-server, node: embedded, process: {{pidfile: {self.pidfile}}}, engine: "{url}",
       command: {{inject: [sh, -c, "touch {self.flag}; exec sleep 1"], check: [test, "!", -e, {self.flag}], restore: [rm, -f, {self.flag}]}}}}}}
"""
        )

    def undo(self, deadline: float, folder: Path) -> Undo:
        """The record of a fault that is not injected yet: its snapshot is taken now."""
        handle = Handle("deployment", "ml/vllm-server")
        uid, _ = self.client.identity()
        return Undo(
            run="a-run", folder=str(folder), step="gaming", trial=1, fault=self.fault, options={}, target="vllm",
            kind=handle.kind, handle=handle.name, given={}, cluster=uid, kubeconfig=str(self.kubeconfig),
            embedded_pid=self.client.embedded_pid, holder="elsewhere:1", deadline=deadline,
            state=faults.make(self.fault, self.client, on(handle), {}).snapshot(),
        )  # fmt: skip

    def write_topology(self, path: Path | None = None, url: str | None = None) -> Path:
        path = path or self.folder / "topology.yaml"
        path.write_text(topology.dump(self.topology(url)))
        return path

    def deployment(self) -> dict[str, Any]:
        found = self.client.workload("deployment", "ml", "vllm-server")
        assert found is not None
        return found

    def replicas(self) -> int:
        return self.deployment()["spec"]["replicas"]

    def ready(self) -> int:
        return self.deployment().get("status", {}).get("readyReplicas", 0)

    def observed(self) -> bool:
        """Whether the controllers have observed the Deployment's current state."""
        found = self.deployment()
        return bool(found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"])

    def answers(self) -> bool:
        """Whether the engine gives a complete answer within two seconds."""
        body = {"model": "tiny", "max_tokens": 2, "messages": [{"role": "user", "content": "Count."}]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                return json.load(answer)["choices"][0]["finish_reason"] == "length"
        except (OSError, ValueError):
            return False

    def scale(self, replicas: int) -> None:
        until(lambda: self._scaled(replicas), f"scaled to {replicas}")

    @staticmethod
    def replicas_requested(body: bytes) -> int | None:
        """The replicas that a PATCH of the scale requests."""
        return json.loads(body).get("spec", {}).get("replicas")

    def _scaled(self, replicas: int) -> bool:
        found = self.client.scale("deployment", "ml", "vllm-server")
        assert found is not None
        return self.client.set_scale("deployment", found, replicas, manager="kubectl") is not None

    @contextlib.contextmanager
    def as_if_real(self) -> Iterator[None]:
        """Remove the label that marks an embedded cluster."""
        before = self._call(self._system())
        labels = {k: v for k, v in before["metadata"]["labels"].items() if k != EMBEDDED}
        self._call(self._system({**before, "metadata": {**before["metadata"], "labels": labels}}))
        try:
            yield
        finally:
            self._call(self._system(before))

    def serve_again(self, name: str, families: list[str]) -> None:
        """Add one more Service for the engine's Pods."""
        self._call(self._serve_again(name, families))

    def touch(self) -> None:
        """Write the Deployment without changing its replicas: its version changes."""
        self._call(self._touch())

    def remake(self) -> None:
        """Delete and recreate the Deployment: the same name, another uid."""
        self._call(self._remake())

    def leases(self) -> list[dict[str, Any]]:
        return list(self.client.leases("ml", LABEL))

    def back(self) -> None:
        """Reset it after a test."""
        self.intercept = None
        self.flag.unlink(missing_ok=True)
        for policy in self.client.network_policies("ml"):
            meta = policy["metadata"]
            self.client.delete_network_policy("ml", meta["name"], meta["uid"])
        until(self._schedulable, "the node takes Pods again")
        for held in self.leases() + list(self.client.leases(LOCKS, LABEL)):
            meta = held["metadata"]
            self.client.delete_lease(meta["namespace"], meta["name"], meta["uid"])
        if self.replicas() != 1:
            self.scale(1)
        until(lambda: self.ready() == 1, "the engine's Pod is ready again")

    def _schedulable(self) -> bool:
        node = self.client.node("embedded")
        assert node is not None
        if not node["spec"].get("unschedulable"):
            return True
        return self.client.set_schedulable(node, True, {OURS: None}) is not None

    def close(self) -> None:
        self._call(self.cluster.close())
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _system(self, fresh: dict[str, Any] | None = None) -> dict[str, Any]:
        store = self.cluster.store
        found = store.put(NAMESPACES, fresh) if fresh else store.get(NAMESPACES, "", "kube-system")
        assert found is not None
        return found

    async def _serve_again(self, name: str, families: list[str]) -> None:
        spec = {"selector": {"app": "vllm-server"}, "ports": [{"port": self.port}], "ipFamilies": families}
        meta = {"name": name, "namespace": "ml"}
        self.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})

    async def _touch(self) -> None:
        found = self.cluster.store.get(DEPLOYMENTS, "ml", "vllm-server")
        assert found is not None
        labels = {**found["metadata"].get("labels", {}), "touched": secrets.token_hex(4)}
        self.cluster.store.put(DEPLOYMENTS, {**found, "metadata": {**found["metadata"], "labels": labels}})

    async def _remake(self) -> None:
        self.cluster.writes.delete(DEPLOYMENTS, "ml", "vllm-server", None, Options())
        self.cluster.apply(self.manifest)

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _up(self) -> str:
        from aiohttp import web

        @web.middleware
        async def intercept(request: web.Request, handler: Any) -> Any:
            # A dry run changes nothing, so it is not intercepted.
            if self.intercept is not None and "dryRun" not in request.query:
                return await self.intercept(request, handler)
            return await handler(request)

        self.cluster = Cluster([Identity("admin", TOKEN, admin=True)], log_dir=self.folder)
        self._runner, port = await serve(self.cluster, middlewares=[intercept])
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
            "command": [
                *command,
                "--port",
                str(self.port),
                "--time-to-first-token",
                "5ms",
                "--pidfile",
                str(self.pidfile),
            ],
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


def until(holds: Callable[[], Any], what: str, within_s: float = 60.0) -> Any:
    """Wait for a condition; the test fails with its description after the timeout."""
    over = time.monotonic() + within_s
    while not (seen := holds()):
        assert time.monotonic() < over, f"not within {within_s} s: {what}"
        time.sleep(0.04)
    return seen


def events(folder: Path) -> list[dict[str, Any]]:
    """The events of chaos so far, without a line that is still being written."""
    path = folder / "chaos.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]

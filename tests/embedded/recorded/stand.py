"""A cluster and its API in a separate thread, for tests that use it as clients. Its Pods are tiny processes."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import kubernetes.client

from embedded.apiserver.cluster import Cluster
from embedded.apiserver.rights import Identity, Rule
from embedded.apiserver.server import serve
from tests.ports import held_port

ADMIN = "token-of-the-admin"
SCALER = "token-of-the-scaler"
OPERATOR = "token-of-the-operator"

# The Roles of the recordings.
TOKENS = [
    Identity("admin", ADMIN, admin=True),
    Identity(
        "system:serviceaccount:ml:scaler",
        SCALER,
        (Rule(("patch",), ("apps",), ("deployments/scale",), ("vllm-server",), "ml"),),
    ),
    Identity(
        "system:serviceaccount:ml:operator",
        OPERATOR,
        (
            Rule(("get", "patch"), ("apps",), ("deployments/scale",), ("vllm-server",), "ml"),
            Rule(("get", "list", "watch"), ("apps",), ("deployments",), ("vllm-server",), "ml"),
        ),
    ),
]

# Answers 200 some time after its start; takes some time to stop on SIGTERM.
POD = """
import os, signal, socket, sys, time
port, ready_s, stop_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
def stop(*_):
    time.sleep(stop_s)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
server, born = socket.create_server(("127.0.0.1", port), reuse_port=True), time.monotonic()
while True:
    sender, _ = server.accept()
    sender.recv(4096)
    ready = time.monotonic() - born >= ready_s
    sender.sendall(b"HTTP/1.1 %s\\r\\nContent-Length: 0\\r\\n\\r\\n" % (b"200 OK" if ready else b"503 No"))
    sender.close()
"""


@dataclass
class Answer:
    """A response; `body` is parsed if it is JSON."""

    status: int
    content_type: str
    headers: dict[str, str]
    body: Any


def workload(
    name: str,
    *,
    kind: str = "Deployment",
    ready_s: float = 0.0,
    stop_s: float = 0.0,
    grace_s: int = 30,
    port: int | None = None,
    container_port: int | None = None,
    image: str = "process",
    replicas: int = 1,
    command: list[str] | None = None,
) -> dict[str, Any]:
    """A workload of one container; its probe uses `port`; `container_port` is the port that the Pod declares."""
    port = port or held_port()
    container: dict[str, Any] = {
        "name": "server",
        "image": image,
        "command": command or [sys.executable, "-S", "-c", POD, str(port), str(ready_s), str(stop_s)],
        "ports": [{"name": "http", "containerPort": container_port or port}],
    }
    if command is None:
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": port}}
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": grace_s, "containers": [container]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    meta = {"name": name, "namespace": "ml", "labels": {"app": name}}
    return {"kind": kind, "apiVersion": "apps/v1", "metadata": meta, "spec": spec}


def service(name: str, port: int) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "targetPort": "http"}]}
    meta = {"name": name, "namespace": "ml"}
    return {"kind": "Service", "apiVersion": "v1", "metadata": meta, "spec": spec}


def until(condition: Callable[[], Any], what: str, within_s: float = 60.0) -> Any:
    """Polls until the condition returns a true value, and returns it."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.03)
    raise AssertionError(f"not within {within_s} s: {what}")


class LocalCluster:
    """Use as a context manager; `cluster` belongs to the thread's loop, so reach it through `call` and `run`."""

    def __init__(self, *manifests: dict[str, Any], middlewares: Any = (), **settings: Any) -> None:
        self.manifests = manifests
        self.middlewares = middlewares
        quick: dict[str, Any] = {
            "controller_delay_s": 0.005,
            "restart_backoff_s": (0.05, 0.2),
            "probe_period_s": 0.02,
        }
        self.settings = quick | settings
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.cluster: Cluster
        self.port = 0

    def __enter__(self) -> LocalCluster:
        self.thread.start()
        self.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._shut())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    async def _open(self) -> None:
        self.cluster = Cluster(TOKENS, **self.settings)
        self.cluster.apply({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "ml"}})
        for manifest in self.manifests:
            self.cluster.apply(manifest)
        self.runner, self.port = await serve(self.cluster, middlewares=self.middlewares)

    async def _shut(self) -> None:
        await self.cluster.close(grace_s=0)
        await self.runner.cleanup()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def called() -> Any:
            return function(*arguments)

        return self.run(called())

    def lag(self, seconds: float) -> None:
        """Slows the controllers from now on, so that a test can read before they act."""
        self.cluster.controllers.delay_s = seconds

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str | None = None,
        token: str | None = ADMIN,
        accept: str = "application/json",
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Accept": accept}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if content_type or body is not None:
            headers["Content-Type"] = content_type or "application/json"
        data = body if isinstance(body, str) or body is None else json.dumps(body)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        kind = response.headers["Content-Type"]
        is_json = kind.startswith("application/json") and "watch=" not in path
        if is_json or (response.status != 200 and kind.startswith("application/json")):
            return Answer(response.status, kind, dict(response.headers), json.loads(text))
        return Answer(response.status, kind, dict(response.headers), text)

    def get(self, path: str) -> Any:
        return self.request("GET", path).body

    @contextmanager
    def stopped(self, name: str = "engine") -> Iterator[int]:
        """Stops the process of a Pod during the block. It handles SIGTERM only afterwards, so the Pod stays terminating for
        the whole block, however slow the machine is."""
        (pod,) = self.pods(name)
        pid = int(self.call(self.cluster.pid_of, pod["metadata"]["name"]))
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGCONT)

    def pods(self, name: str) -> list[dict[str, Any]]:
        return list(self.get(f"/api/v1/namespaces/ml/pods?labelSelector=app%3D{name}")["items"])

    def slice_of(self, name: str) -> dict[str, Any]:
        listed = self.get(
            f"/apis/discovery.k8s.io/v1/namespaces/ml/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
        )
        return dict(listed["items"][0])

    def up(self, name: str, kind: str = "deployments") -> dict[str, Any]:
        """Waits until a workload has its desired state, and returns it."""

        def settled() -> Any:
            found = self.get(f"/apis/apps/v1/namespaces/ml/{kind}/{name}")
            status = found["status"]
            seen = status.get("observedGeneration") == found["metadata"]["generation"]
            return seen and status.get("readyReplicas", 0) == found["spec"]["replicas"] and found

        return dict(until(settled, f"{name} is up"))

    def client(self, token: str = ADMIN) -> kubernetes.client.ApiClient:
        configuration = kubernetes.client.Configuration()
        configuration.host = f"http://127.0.0.1:{self.port}"
        configuration.api_key = {"authorization": f"Bearer {token}"}
        configuration.retries = False
        return kubernetes.client.ApiClient(configuration)

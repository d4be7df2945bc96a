"""The target of each fault of the catalogue, for tests that hold for all faults: its state, and changes by someone else."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

from chaos.target import Handle
from tests.chaos.commands import Target
from tests.chaos.hosts import Host
from tests.chaos.plain import File, put
from tests.chaos.processes import Server
from tests.chaos.recorded.engine import FaultyEngine
from tests.chaos.small import Small, sleepers
from tests.chaos.targets import given
from tests.embedded.recorded.stand import until

POLICIES = "/apis/networking.k8s.io/v1/namespaces/ml/networkpolicies"
NODE = "/api/v1/nodes/embedded"


class World:
    """`at`: the target's state: an instance, a number, a content. A restore of an intact target does not change it."""

    cluster: Any = None
    uid: str | None = None

    def handle(self, kind: str) -> Handle:
        raise NotImplementedError  # each world has its own

    def at(self) -> Any:
        raise NotImplementedError  # each world has its own

    def another(self, fault: str) -> None:
        """A change by someone else while it is taken away."""
        raise NotImplementedError  # each world has its own

    def settle(self) -> None:
        """Wait until pending changes have arrived."""


class Workloads(World):
    """On a cluster: two Pods of a Deployment, two of a StatefulSet, and their node."""

    NAMES = {"deployment": "engine", "statefulset": "store", "node": "engine"}  # noqa: RUF012

    def __init__(self, folder: Path) -> None:
        self.small = Small(
            folder, sleepers("engine", replicas=2), sleepers("store", replicas=2, kind="StatefulSet")
        )

    def __enter__(self) -> "Workloads":
        self.small.__enter__()
        self.cluster = self.small.admin
        self.uid = self.cluster.identity()[0]
        return self

    def __exit__(self, *_: Any) -> None:
        self.small.__exit__(*_)

    def handle(self, kind: str) -> Handle:
        self._kind, self._name = kind, self.NAMES[kind]
        return Handle(kind, "embedded" if kind == "node" else f"ml/{self._name}")

    def at(self) -> Any:
        node = self.small.get(NODE)
        return (
            self._replicas(),
            self._living(),
            bool(node["spec"].get("unschedulable")),
            [p["metadata"]["uid"] for p in self.small.get(POLICIES)["items"]],
        )

    def another(self, fault: str) -> None:
        if fault == "node_drain":
            for schedulable in (True, False):
                until(partial(self._cordon, schedulable), "someone else writes the node")
        elif fault == "network_blackhole":
            (ours,) = self.small.get(POLICIES)["items"]
            name = ours["metadata"]["name"]
            self.small.delete(f"{POLICIES}/{name}")
            self.small.apply(
                {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                 "metadata": {"name": name, "namespace": "ml"},
                 "spec": {"podSelector": {"matchLabels": {"app": "another"}}, "policyTypes": ["Ingress"]}}
            )  # fmt: skip
        else:
            until(lambda: self._scale(3), "someone else scales it")

    def settle(self) -> None:
        if self.small.get(NODE)["spec"].get("unschedulable"):
            until(lambda: len(self._living()) == self._replicas(), "its owner has made others, which wait")
            return
        for kind in ("deployment", "statefulset"):
            self.small.up(self.NAMES[kind], f"{kind}s")

    def back(self) -> None:
        """Reset it after a test."""
        until(lambda: self._cordon(True), "the node takes Pods")
        for policy in self.small.get(POLICIES)["items"]:
            self.small.delete(f"{POLICIES}/{policy['metadata']['name']}")
        for self._kind, self._name in (("deployment", "engine"), ("statefulset", "store")):
            until(lambda: self._scale(2), "it has two replicas")
        self.settle()

    def _living(self) -> list[str]:
        found = [p["metadata"] for p in self.small.pods(self._name)]
        return sorted(meta["uid"] for meta in found if "deletionTimestamp" not in meta)

    def _replicas(self) -> int:
        kind = "deployment" if self._kind == "node" else self._kind
        return int(self.cluster.workload(kind, "ml", self._name)["spec"]["replicas"])

    def _cordon(self, schedulable: bool) -> bool:
        node = self.cluster.node("embedded")
        return self.cluster.set_schedulable(node, schedulable, {}, "kubectl") is not None

    def _scale(self, replicas: int) -> bool:
        kind = "deployment" if self._kind == "node" else self._kind
        found = self.cluster.scale(kind, "ml", self._name)
        return self.cluster.set_scale(kind, found, replicas, manager="kubectl") is not None


class Units(World):
    """A unit of a host's systemd."""

    def __init__(self, host: Host, unit: str) -> None:
        self._host, self._unit = host, unit

    def handle(self, kind: str) -> Handle:
        return given(kind, {"name": self._unit})

    def at(self) -> Any:
        return [self._host.show(self._unit, key) for key in ("InvocationID", "ActiveState", "FreezerState")]

    def another(self, fault: str) -> None:
        self._host.systemctl("thaw", self._unit, check=False)  # a frozen unit cannot be restarted
        self._host.systemctl("restart", self._unit)


class Process(World):
    """A process group with a pidfile."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def handle(self, kind: str) -> Handle:
        return given(kind, {"pidfile": str(self._server.pidfile), "start": self._server.start})

    def at(self) -> Any:
        return self._server.pid()

    def another(self, fault: str) -> None:
        try:
            os.killpg(self._server.pid(), signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._server.pidfile.unlink()
        self._server.begin()


class Engine(World):
    """An engine's control of its faults."""

    def __init__(self, engine: FaultyEngine) -> None:
        self._engine = engine

    def handle(self, kind: str) -> Handle:
        return given(kind, self._engine.url)

    def at(self) -> Any:
        return self._engine.fault and self._engine.fault["id"]

    def another(self, fault: str) -> None:
        self._engine.fault = {"fault": "no_headers", "id": "theirs", "until": 0.0}


class Command(World):
    """A target of commands. A restore by someone else cannot be detected."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def handle(self, kind: str) -> Handle:
        return given(kind, self._target.given)

    def at(self) -> Any:
        return self._target.up.exists()


class OfFile(World):
    """The tests' own: a file's content."""

    def __init__(self, file: File) -> None:
        self._file = file

    def handle(self, kind: str) -> Handle:
        return given(kind, {"pidfile": str(self._file.path)})

    def at(self) -> Any:
        return self._file.is_()

    def another(self, fault: str) -> None:
        put(self._file.path, "another's")

"""A cluster whose Pods are tiny processes, as chaos sees it: for tests of one driver's verbs."""

import time
from pathlib import Path
from typing import Any

from chaos import faults
from chaos.errors import NotYet
from chaos.fault import Fault
from chaos.kube.cluster import Cluster
from chaos.target import Handle
from chaos.undo.journal import Undo
from embedded.apiserver.kubeconfig import write
from embedded.apiserver.rights import Identity, Rule
from tests.chaos.targets import on
from tests.embedded.recorded.stand import ADMIN, LocalCluster, service, until, workload


class Small(LocalCluster):
    """Use as a context manager. Its namespace is ml, its node `embedded`."""

    def __init__(self, folder: Path, *manifests: dict[str, Any], **settings: Any) -> None:
        super().__init__(*manifests, **settings)
        self.folder = folder

    def __enter__(self) -> "Small":
        super().__enter__()
        self.admin = self.seen_by(ADMIN)
        return self

    def seen_by(self, token: str) -> Cluster:
        path = self.folder / f"kubeconfig-{token}"
        write(path, f"http://127.0.0.1:{self.port}", token, "ml")
        return Cluster(str(path))

    def may(self, user: str, rules: tuple[Rule, ...]) -> Cluster:
        """The cluster for an account with only these rights."""
        token = f"token-of-{user}"
        others = tuple(i for i in self.cluster.tokens if i.token != token)
        self.cluster.tokens = (*others, Identity(user, token, rules))
        return self.seen_by(token)

    def apply(self, manifest: dict[str, Any]) -> None:
        self.call(self.cluster.apply, manifest)

    def delete(self, path: str) -> None:
        assert self.request("DELETE", path).status == 200

    def uids(self, name: str = "engine") -> set[str]:
        return {p["metadata"]["uid"] for p in self.pods(name)}

    def scale(self, replicas: int, name: str = "engine") -> None:
        def scaled() -> Any:
            found = self.admin.scale("deployment", "ml", name)
            return found and self.admin.set_scale("deployment", found, replicas, manager="kubectl")

        until(scaled, "it is scaled: a controller may have written in between")

    def undo(self, name: str, handle: Handle, options: dict[str, Any], deadline: float) -> Undo:
        """The record of a fault that is not injected yet: its snapshot is taken now."""
        uid, _ = self.admin.identity()
        fault = faults.make(name, self.admin, on(handle), options)
        return Undo(
            run="a-run", folder=None, step="a-step", trial=1, fault=name, options=options, target="engine",
            kind=handle.kind, handle=handle.name, given=handle.given, cluster=uid, kubeconfig=None,
            embedded_pid=self.admin.embedded_pid, holder="elsewhere:1", deadline=deadline, state=fault.snapshot(),
        )  # fmt: skip


def engine(name: str = "engine", **more: Any) -> list[dict[str, Any]]:
    """A workload of one Pod that answers, and the Service before it."""
    made = workload(name, **more)
    port = made["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    return [made, service(name, port)]


def sleepers(name: str = "engine", *, replicas: int, **more: Any) -> dict[str, Any]:
    """A workload of many Pods, which need no port."""
    made = workload(name, replicas=replicas, command=["sleep", "1000"], **more)
    del made["spec"]["template"]["spec"]["containers"][0]["ports"]
    return made


def effective(fault: Fault, state: dict[str, Any]) -> Any:
    return until(lambda: look(fault, state), "the fault is effective")


def look(fault: Fault, state: dict[str, Any]) -> Any:
    """Once; None: not yet."""
    try:
        return fault.effective(state)
    except NotYet:
        return None


def restored(fault: Fault, state: dict[str, Any]) -> Any:
    return until(lambda: fault.restored(state), "the fault is restored")


def in_an_hour() -> float:
    return time.time() + 3600

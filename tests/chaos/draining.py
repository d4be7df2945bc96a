"""A node with two Pods, its drain, and changes by someone else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos.fault import NoOptions
from chaos.faults.node_drain import NodeDrain
from chaos.target import Handle
from embedded.apiserver.resources import Resource
from tests.chaos.small import Small, sleepers
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until

NODE = Handle("node", "embedded")
PATH = "/api/v1/nodes/embedded"


@contextmanager
def two_pods(folder: Path) -> Iterator[Small]:
    with Small(folder, sleepers(replicas=2)) as made:
        made.up("engine")
        yield made


def drain(small: Small, node: str = "embedded") -> NodeDrain:
    return NodeDrain(small.admin, on(Handle("node", node)), NoOptions())


def cordon(small: Small, cordoned: bool = True) -> None:
    def written() -> Any:
        node = small.admin.node("embedded")
        assert node is not None
        return small.admin.set_schedulable(node, not cordoned, {}, "kubectl")

    until(written, "it is written: the taint that follows a cordon may be in between")


def is_cordoned(small: Small) -> bool:
    return small.get(PATH)["spec"].get("unschedulable", False)


def changed(small: Small, resource: Resource, obj: dict[str, Any], **meta: Any) -> None:
    """A write as by a kubelet or another controller."""
    small.call(small.cluster.store.put, resource, {**obj, "metadata": {**obj["metadata"], **meta}})

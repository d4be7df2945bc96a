"""A reaper in a thread, and what dead runs and others have left for it."""

import threading
import time
from collections.abc import Sequence

from chaos import faults
from chaos.kube.cluster import Cluster
from chaos.kube.names import LABEL
from chaos.stop import Stop
from chaos.target import Handle
from chaos.undo import lease
from chaos.undo.reaper import HEARTBEAT, Reaper
from contract.clock import Clock
from tests.chaos.small import Small, effective
from tests.chaos.targets import on


class Running:
    """A reaper in a thread; its clock is ahead of the others by `ahead_s`."""

    def __init__(self, cluster: Cluster, namespaces: Sequence[str] = ("ml",)) -> None:
        self.ahead_s, self._stop = 0.0, Stop()
        self.lines: list[str] = []
        clock = Clock(self._now, self._now)
        self._reaper = Reaper(cluster, list(namespaces), clock, self._stop, self.lines.append)
        self._thread = threading.Thread(target=self._reaper.run)

    def _now(self) -> float:
        return time.time() + self.ahead_s

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set("the test is over")
        self._thread.join(30)
        assert not self._thread.is_alive()


def abandon(small: Small, name: str, late_s: float) -> Handle:
    """A target at zero of a dead run, this long past its deadline."""
    handle, now = Handle("deployment", f"ml/{name}"), time.time()
    undo = small.undo("scale_to_zero", handle, {}, now - late_s)
    assert lease.take(small.admin, undo, now)
    fault = faults.make(undo.fault, small.admin, on(handle), {})
    fault.inject(undo.state)
    effective(fault, undo.state)
    return handle


def replicas(small: Small, name: str) -> int:
    found = small.admin.workload("deployment", "ml", name)
    assert found is not None
    return int(found["spec"]["replicas"])


def leases(small: Small) -> list[str]:
    return sorted(found["metadata"]["name"] for found in small.admin.leases("ml", LABEL))


def beat(small: Small, namespace: str = "ml") -> str | None:
    found = small.admin.lease(namespace, HEARTBEAT)
    return None if found is None else str(found["spec"]["renewTime"])

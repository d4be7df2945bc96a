"""Mends what is open: from the journal of this machine, and from the Leases of a cluster. Safe at any time.

It shows what is open and what it did about it; an open fault whose run is still alive is mended too, since that is
what the operator asks for.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from chaos import faults, lease
from chaos.cluster import TROUBLE, Cluster
from chaos.fault import Foreign
from chaos.journal import Journal, Undo
from contract.clock import Clock
from contract.records import Event
from contract.refusal import Refusal
from contract.run import JsonLines
from contract.topology import Topology

POLL_S = 0.3
FILE = "restore.jsonl"  # in the run's folder; chaos.jsonl has one writer, the controller


def restore(
    journal: Journal, topology: Topology | None, clock: Clock, within_s: float, say: Callable[[str], None]
) -> int:
    """How many open faults could not be mended."""
    left = 0
    seen = set()
    for path, undo in journal.records():
        seen.add((undo.cluster, undo.handle))
        done = _mend(undo, clock, within_s, say)
        left += not done
        if done:
            journal.close(path)
    for undo in _leases(topology, say):
        if (undo.cluster, undo.handle) not in seen:
            seen.add((undo.cluster, undo.handle))
            left += not _mend(undo, clock, within_s, say)
    if not seen:
        say("nothing is open")
    return left


def _leases(topology: Topology | None, say: Callable[[str], None]) -> Iterable[Undo]:
    """The undo records that the Leases of the topology's namespaces carry."""
    if topology is None or topology.cluster is None:
        return
    cluster = Cluster(topology.kubeconfig)
    handles = [t.handles.deployment for t in topology.tiers if t.handles.deployment]
    try:
        for namespace in sorted({h.split("/")[0] for h in handles}):
            for held in cluster.leases(namespace, lease.LABEL):
                yield lease.undo_in(held)
    except TROUBLE as e:
        say(f"the Leases cannot be read: {e}")


def _mend(undo: Undo, clock: Clock, within_s: float, say: Callable[[str], None]) -> bool:
    what = f"{undo.fault} on {undo.handle} (run {undo.run}, step {undo.step}, held by {undo.holder})"
    events = _Events(undo, clock)
    until = clock.now() + within_s
    while True:
        try:
            cluster = Cluster(undo.kubeconfig, undo.embedded_pid)
            if cluster.gone():
                say(f"{what}: the embedded cluster is gone, and its pods with it; closed")
                events.tell("fail", error="the embedded cluster is gone, and its pods with it")
                return True
            uid, _ = cluster.identity()
            if uid != undo.cluster:
                say(
                    f"{what}: {undo.kubeconfig or 'the default kubeconfig'} leads to another cluster; not touched"
                )
                return False
            return _mend_on(cluster, undo, until, clock, events, say, what)
        except (Refusal, *TROUBLE) as e:
            if clock.now() > until:
                say(f"{what}: NOT mended: {e}")
                events.tell("fail", error=str(e))
                return False
        time.sleep(POLL_S)


def _mend_on(
    cluster: Cluster,
    undo: Undo,
    until: float,
    clock: Clock,
    events: "_Events",
    say: Callable[[str], None],
    what: str,
) -> bool:
    fault = faults.find(undo.fault).make(cluster, undo.handle)
    events.tell("begin")
    try:
        fault.mend(undo.state)
    except Foreign as e:
        say(f"{what}: {e}; closed")
        events.tell("fail", error=str(e), detail={"foreign": True})
        _release(cluster, undo)
        return True
    events.tell("commanded")
    while True:
        seen = fault.mended(undo.state)
        if seen is not None:
            break
        if clock.now() > until:
            say(f"{what}: mended, but NOT ready in time")
            events.tell("fail", error="mended, but not ready in time")
            return False
        time.sleep(POLL_S)
    events.tell("effective", detail=seen)
    _release(cluster, undo)
    say(f"{what}: mended, {seen}")
    return True


def _release(cluster: Cluster, undo: Undo) -> None:
    namespace = undo.handle.split("/")[0]
    held = cluster.lease(namespace, lease.name_of(undo.handle))
    if held is not None:
        lease.release(cluster, undo, held["metadata"]["uid"])


class _Events:
    """Tells the run, where its folder is on this machine."""

    def __init__(self, undo: Undo, clock: Clock) -> None:
        self._undo, self._clock = undo, clock
        folder = Path(undo.folder) if undo.folder else None
        self._file = JsonLines(folder / FILE) if folder and folder.is_dir() else None

    def tell(self, stage: str, error: str | None = None, detail: dict[str, Any] | None = None) -> None:
        undo = self._undo
        if self._file is not None:
            self._file.append(
                Event(
                    at=self._clock.now(),
                    run=undo.run,
                    move="mend",
                    stage=stage,
                    by="restore",
                    step=undo.step,
                    trial=undo.trial,
                    fault=undo.fault,
                    target=undo.target,
                    detail=detail,
                    error=error,
                )
            )

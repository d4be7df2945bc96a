"""Mends one open fault in the place of its controller: fenced by the Lease, verified, and watched on for a while.

The guardian, the reaper and `restore` are menders; they differ in when they begin and how long they try.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos import faults, lease
from chaos.cluster import Cluster, process_gone
from chaos.fault import Fault, Foreign
from chaos.journal import Undo
from contract.clock import Clock
from contract.records import Event
from contract.refusal import Refusal
from contract.run import JsonLines

POLL_S = 0.1
# An inject may still be on its way when its controller died: the mender keeps the record open and watches on. As long
# as a call may take on the controller's side; see the timeouts of cluster.py.
WATCH_ON_S = 6.0
WATCH_EVERY_S = 0.5
AGAIN_WITHIN_S = 60.0
BACK_OFF_S = 5.0  # at most, between two tries that met trouble
GONE = "the embedded stack is gone, and its processes with it"


class Mender:
    """`mend` says whether the fault is closed; what it does it tells the run's folder, in a file of its own.

    `cluster`: the one to mend on, where the record's own kubeconfig is another machine's.
    """

    def __init__(
        self, undo: Undo, by: str, clock: Clock, say: Callable[[str], None], cluster: Cluster | None = None
    ) -> None:
        self._undo, self._by, self._clock, self._say = undo, by, clock, say
        self._given = cluster
        self._cluster: Cluster | None = None
        self._fault: Fault | None = None
        self._folder = Path(undo.folder) if undo.folder else None
        # Made with the first event: a mender that is never needed leaves no file.
        self._events: JsonLines | None = None

    def connect(self) -> None:
        """Make ready, so that nothing but the API's own time stands between the call and the mend.

        Raises Refusal where the cluster is another one, and what is in TROUBLE.
        """
        undo, cluster = self._undo, None
        if undo.target_handle.on_cluster:
            cluster = self._given or Cluster(undo.kubeconfig, undo.embedded_pid)
            uid, _ = cluster.identity()
            if uid != undo.cluster:
                where = cluster.kubeconfig or "the default kubeconfig"
                raise Refusal(f"{where} leads to another cluster; not touched")
        self._fault = faults.make(undo.fault, cluster, undo.target_handle, undo.options)
        self._cluster = cluster

    def mend(self, within_s: float) -> bool:
        """Try until it is mended and verified, or nothing is left to mend, or the time is up."""
        until = self._clock.now() + within_s
        begun, pause_s = False, POLL_S
        while True:
            try:
                if process_gone(self._undo.embedded_pid):
                    return self._closed(GONE, {"gone": True})
                if self._fault is None:
                    self.connect()
                assert self._fault is not None, "connect has set it"
                held = lease.read(self._cluster, self._undo) if self._cluster else None
                if held is not None and lease.undo_in(held) != self._undo:
                    return self._closed(
                        f"held by {held['spec'].get('holderIdentity')} now; not touched", {"foreign": True}
                    )
                if not begun:
                    self._tell("begin")
                    begun = True
                    if self._fault.slow:
                        self._tell("commanded")
                return self._mend(self._fault, held, until)
            except Refusal as e:
                return self._open(str(e))
            except Exception as e:  # also a mistake of ours: no mend may end with a traceback
                if self._clock.now() > until:
                    return self._open(f"{type(e).__name__}: {e}")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, BACK_OFF_S)

    def _mend(self, fault: Fault, held: dict[str, Any] | None, until: float) -> bool:
        undo = self._undo
        seen: dict[str, Any] | None = None
        try:
            fault.mend(undo.state)
            if not fault.slow:
                self._tell("commanded")
            seen = self._until_mended(fault, until)
            if seen is None:
                return self._open("mended, but not ready in time")
            self._tell("effective", detail=seen)
            if not self._watch_on(fault, until):
                return self._open("mended, lost again, and not ready in time")
        except Foreign as e:
            words = str(e)
        else:
            words = f"mended, {seen}"
        fault.disarm(undo.state)
        if held is not None and self._cluster is not None:
            lease.release(self._cluster, undo, held["metadata"]["uid"])
        if seen is None:
            return self._closed(words, {"foreign": True})
        self._say(f"{self._what}: {words}")
        return True

    def _until_mended(self, fault: Fault, until: float) -> dict[str, Any] | None:
        """Mends at every look: the inject may have arrived since the last one, and would be waited out for ever."""
        while True:
            fault.mend(self._undo.state)
            seen = fault.mended(self._undo.state)
            if seen is not None or self._clock.now() > until:
                return seen
            time.sleep(POLL_S)

    def _watch_on(self, fault: Fault, until: float) -> bool:
        """Whether it is still back when nothing can arrive any more."""
        over = self._clock.now() + WATCH_ON_S
        while self._clock.now() < over:
            fault.mend(self._undo.state)  # a look, unless the inject has arrived after all
            if fault.mended(self._undo.state) is None:
                seen = self._until_mended(fault, max(until, self._clock.now() + AGAIN_WITHIN_S))
                if seen is None:
                    return False
                self._tell("effective", detail=seen | {"again": True})
            time.sleep(WATCH_EVERY_S)
        return True

    def _closed(self, why: str, detail: dict[str, Any]) -> bool:
        self._tell("fail", error=why, detail=detail)
        self._say(f"{self._what}: {why}; closed")
        return True

    def _open(self, why: str) -> bool:
        self._tell("fail", error=why)
        self._say(f"{self._what}: NOT mended: {why}")
        return False

    @property
    def _what(self) -> str:
        u = self._undo
        return f"{u.fault} on {u.handle} (run {u.run}, step {u.step}, held by {u.holder})"

    def _tell(self, stage: str, error: str | None = None, detail: dict[str, Any] | None = None) -> None:
        if self._folder is None or not self._folder.is_dir():
            return
        u = self._undo
        event = Event(
            at=self._clock.now(), run=u.run, move="mend", stage=stage, by=self._by, step=u.step, trial=u.trial,
            fault=u.fault, target=u.target, detail=detail, error=error,
        )  # fmt: skip
        try:
            self._events = self._events or JsonLines(self._folder / f"{self._by}.jsonl")
            self._events.append(event)
        except OSError:
            pass  # a mend must not end because the disk is full

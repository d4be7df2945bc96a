"""Restores one open fault in place of its controller: for the guardian, the reaper, `restore` and a takeover.

They differ in when they begin, how long they try, and whether they have a topology, which verifying by a real answer needs.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos import faults
from chaos.fault import Fault
from chaos.kube.cluster import Cluster, process_gone
from chaos.probe.verification import Answers, Unknown
from chaos.retry import error_text, until
from chaos.target import Target, target_of
from chaos.undo.claim import Claim
from chaos.undo.journal import Journal, Undo
from chaos.undo.restorer import GONE, End, How, Question, Restorer
from contract import own_file, topology
from contract.clock import Clock
from contract.printable import clean
from contract.records import Event
from contract.refusal import Refusal
from contract.run import JsonLines
from contract.topology import Topology

SHOWN = {
    How.VERIFIED: "",
    How.LEFT_ALONE: "; left alone, closed",
    How.ELSEWHERE: "; closed",
    How.HELD: "; closed",
    How.GONE: "; closed",
}


class Deputy:
    """`restore` returns whether the fault is closed; its stages go to a separate file in the run's folder."""

    def __init__(
        self,
        undo: Undo,
        by: str,
        clock: Clock,
        log: Callable[[str], None],
        journal: Journal | None = None,
        cluster: Cluster | None = None,
        stack: Topology | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """`journal`: contains the record; None: it came from a Lease. `cluster`: the one to restore on, where the record's
        kubeconfig belongs to another machine. `stack`: by default the topology in the run's folder, for a record from the
        journal."""
        self._undo, self._by, self._clock = undo, by, clock
        self._log: Callable[[str], None] = lambda text: log(clean(text))  # what a Lease names may be any text
        self._journal, self._given, self._wait = journal, cluster, wait
        self._stack = stack
        self._ready: tuple[Fault, Cluster | None] | None = None
        self._question: Callable[[float], Question] | None = None
        self._folder = Path(undo.folder) if undo.folder else None
        # Created with the first event: a deputy that is never needed leaves no file.
        self._events: JsonLines | None = None

    def connect(self) -> None:
        """Prepare, so that a later restore only takes the time of its API calls.

        Raises Refusal where the cluster is another one, and API_ERRORS.
        """
        undo, cluster = self._undo, None
        if (
            self._question is None
        ):  # now: later the folder may be moved, or the keys removed from the environment
            self._question = self._requests()
        if undo.target_handle.on_cluster:
            cluster = self._given or Cluster(undo.kubeconfig, undo.embedded_pid, undo.context)
            uid, _ = cluster.identity()
            if uid != undo.cluster:
                where = cluster.kubeconfig or "the default kubeconfig"
                raise Refusal(f"{where} points to another cluster; not touched")
            if self._given is not None:  # the record's own comes from another machine, or from a Lease
                self._undo = undo = replace(undo, embedded_pid=cluster.embedded_pid)
        self._ready = faults.make(undo.fault, cluster, self._made_on(), undo.options), cluster

    def restore(self, within_s: float) -> bool:
        """Try until it is restored and verified, or nothing is left to restore, or `within_s` seconds are over."""
        over_at = self._clock.now() + within_s
        try:
            end = self._restore(over_at)
        except Exception as e:  # also a bug of ours: it must end no other restore, and not be silent
            end = End(How.OPEN, error_text(e))
        if end.how is How.OPEN:
            self._report("fail", error=end.words)
            self._log(f"{self._what}: NOT restored: {end.words}")
            return False
        if end.how is not How.VERIFIED:
            flags = {How.LEFT_ALONE: {"foreign": True}, How.HELD: {"foreign": True}, How.GONE: {"gone": True}}
            self._report("fail", error=end.words, detail=flags.get(end.how, {"elsewhere": True}))
        elif not end.released:
            self._report("fail", error=end.words, detail={"back": True})
        self._log(f"{self._what}: {end.words}{SHOWN[end.how] if end.released else ''}")
        return end.released

    def _restore(self, over_at: float) -> End:
        try:
            done, why = until(
                self._connected, over_at, self._clock.now, self._waited, (Refusal,), give_up=self._gone
            )
        except Refusal as e:
            return End(How.OPEN, str(e))
        if done is None:
            return End(How.GONE if why == GONE else How.OPEN, str(why))
        assert self._ready is not None, "connect has set it"
        assert self._question is not None, "connect has set it"
        fault, cluster = self._ready
        self._report("begin")
        claim = Claim(self._journal, cluster, self._undo)
        return Restorer(
            self._undo, fault, claim, self._question, self._clock, self._wait,
            lambda stage, detail: self._report(stage, detail=detail), unsure=True,
        ).restore(over_at)  # fmt: skip

    def _connected(self) -> dict[str, Any]:
        if self._gone() is not None:
            raise ProcessLookupError(GONE)  # given up at once
        if self._ready is None:
            self.connect()
        return {}

    def _gone(self) -> str | None:
        return GONE if process_gone(self._undo.embedded_pid) else None

    def _waited(self, pause: float) -> None:
        self._wait(pause)

    def _requests(self) -> Callable[[float], Question]:
        """How to send a request to a restored target; where that is not possible, the question returns why."""
        undo = self._undo
        try:
            stack = self._stack_of(undo)
            if stack is None:
                unknown = Unknown("no topology with this target is available")
                return lambda within_s: unknown
            answers = Answers(stack, [undo.target], self._clock)
        except (Refusal, OSError, ValueError) as e:
            why = Unknown(error_text(e))
            return lambda within_s: why
        return lambda within_s: answers.question(undo.target, within_s)

    def _stack_of(self, undo: Undo) -> Topology | None:
        """The given topology, or the one in the run's folder; each only where it has this handle."""
        if self._stack is not None and _in(self._stack, undo) is not None:
            return self._stack
        if self._journal is None or self._folder is None or not (self._folder / "topology.yaml").is_file():
            return None
        path = self._folder / "topology.yaml"
        own_file.must_be_own(path, path.stat())  # secrets are sent to the urls in it
        found = topology.read(path)
        return found if _in(found, undo) is not None else None

    def _made_on(self) -> Target:
        """The target of the record. A Lease is not trusted: no secret is sent to its url, unless the given topology has this
        handle."""
        undo = self._undo
        if self._journal is not None:
            return undo.made_on
        found = None if self._stack is None else _in(self._stack, undo)
        return found or undo.made_on.without_credentials()

    @property
    def _what(self) -> str:
        u = self._undo
        return f"{u.fault} on {u.handle} (run {u.run}, step {u.step}, held by {u.holder})"

    def _report(self, stage: str, error: str | None = None, detail: dict[str, Any] | None = None) -> None:
        if stage == "waiting" and detail is not None:
            self._log(f"{self._what}: {detail['missing']}; waiting for {detail['waited_s']:.0f} s")
        # The record has its resolved path: a link there now is another's.
        if self._folder is None or self._folder.is_symlink() or not self._folder.is_dir():
            return
        u = self._undo
        event = Event(
            at=self._clock.now(), run=u.run, move="restore", stage=stage, by=self._by, step=u.step, trial=u.trial,
            fault=u.fault, target=u.target, detail=detail, error=error,
        )  # fmt: skip
        try:
            self._events = self._events or JsonLines(self._folder / f"{self._by}.jsonl")
            self._events.append(event)
        except OSError:
            pass  # a restore must not end because the disk is full


def _in(stack: Topology, undo: Undo) -> Target | None:
    """The record's target where the topology has this handle."""
    if undo.target not in stack.targets():
        return None
    found = target_of(stack, undo.target, (undo.kind,))
    return found if found is not None and found.handle.name == undo.handle else None

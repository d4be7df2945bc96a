"""The chaos process of a run: start it, follow its messages, send it the counts for its guards, stop it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import gevent.event

from contract.leash import Leashed
from contract.messages import BadMessage, Counts, End, FaultEvent, Message, Ready, Refused, Status
from contract.refusal import EXIT_BAD_INPUT, EXIT_INTERNAL_ERROR, InternalError, Refusal, how_ended
from contract.topology import Topology
from scenarios.gateway.tally import Snapshot
from scenarios.run.experiment import Progress
from scenarios.run.verdict import Verdict

QUIET_BEFORE_FAULT_S = 5.0
"""From this time before the first fault on the probe sends more requests, which would affect the pairs of scenario overhead."""


def argv(run: Path, topology: Path, timeline: Path, options: argparse.Namespace) -> list[str]:
    """The command that runs chaos."""
    found = [sys.executable, "-m", "chaos", "run", "--leash", "--run", str(run)]
    found += ["--topology", str(topology), "--timeline", str(timeline), "--seed", str(options.seed)]
    found += ["--duration", options.duration] if options.duration else []
    found += ["--without-reaper"] if options.without_reaper else []
    return found + _restore_within(options)


def restore_argv(topology: Path, options: argparse.Namespace) -> list[str]:
    """The command that restores the open faults of a killed chaos process, from its journal."""
    found = [sys.executable, "-m", "chaos", "restore", "--topology", str(topology)]
    return found + _restore_within(options)


def _restore_within(options: argparse.Namespace) -> list[str]:
    return ["--restore-within", options.restore_within] if options.restore_within else []


def cloud_answers(tally: Snapshot, topology: Topology) -> int:
    return sum(tally.by_tier.get(t.name, 0) for t in topology.tiers if t.cloud)


def counts(tally: Snapshot, topology: Topology) -> Counts:
    good, bad = tally.good_and_bad
    return Counts(cloud_answers(tally, topology), good, bad)


def overhead_until(started_at: float, baseline_s: float) -> float:
    """Time (unix seconds) until which pairs of scenario overhead may be sent."""
    return started_at + baseline_s - QUIET_BEFORE_FAULT_S


class Chaos:
    """An experiment. Run `follow` in its own greenlet, from `start` to the end of the process."""

    def __init__(
        self,
        argv: Sequence[str],
        counts: Callable[[], Counts],
        on_event: Callable[[FaultEvent], None],
        launch: Callable[[Sequence[str]], Leashed] = Leashed,
    ) -> None:
        self.progress = Progress()
        self.over: gevent.event.AsyncResult = gevent.event.AsyncResult()
        self._argv, self._counts, self._on_event, self._launch = argv, counts, on_event, launch
        self._process: Leashed | None = None

    def start(self) -> float:
        """Returns the time at which its clock started. Raises Refusal or InternalError; the process has then ended."""
        self._process = process = self._launch(self._argv)
        why = "see the line above"
        try:
            first = process.message()
        except BadMessage as e:
            first, why = None, str(e)
        if isinstance(first, Ready):
            return first.started_at
        process.let_go()
        process.drain()
        code = process.wait()
        kind = Refusal if code == EXIT_BAD_INPUT else InternalError
        if isinstance(first, Refused):
            raise kind(first.why)
        if code == EXIT_INTERNAL_ERROR:
            raise kind(f"{how_ended('chaos', code)} before it started; its traceback is on the terminal")
        raise kind(f"chaos did not start (exit {code}); {why}")

    def follow(self) -> None:
        """Process its messages until it ends. Raises BadMessage; it has then ended too."""
        process = self._process
        assert process is not None, "chaos is started before it is followed"
        try:
            for message in process.messages():
                self._take(process, message)
        finally:  # even after a bad message: `over` must be set, since others wait for it
            process.let_go()
            process.drain()
            self.over.set(process.wait())

    def _take(self, process: Leashed, message: Message) -> None:
        match message:
            case Status():
                self.progress.status = message
                # The guards are in chaos, but their counts are here.
                process.send(self._counts())
            case End():
                self.progress.end_reason = message.reason
            case FaultEvent():
                self.progress.restoring.update(message)
                self._on_event(message)
            case _:
                raise BadMessage(f"{message.kind!r} is not a message of a started chaos process")

    def stop(self) -> None:
        """Close its standard input: it restores now."""
        if self._process is not None:
            self._process.let_go()

    def close(self) -> None:
        """Does nothing: the process has ended."""

    def conclude(self, report: Verdict, folder: Path) -> Verdict:
        return report

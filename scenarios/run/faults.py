"""The chaos process of a run: started, followed, sent the counts that its guards rest on, stopped."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gevent.event

from contract.leash import Leashed
from contract.refusal import Refusal
from contract.topology import Topology
from scenarios.gateway.tally import Snapshot
from scenarios.run.experiment import Progress
from scenarios.run.verdict import Verdict

QUIET_BEFORE_FAULT_S = 5.0
"""From then on the probe sends requests more often, which would weigh on the pairs of the scenario overhead."""


@dataclass(frozen=True)
class Counts:
    """Of the whole run so far: answers of cloud tiers, and the users' good and bad requests."""

    cloud: int
    good: int
    bad: int


def argv(run: Path, topology: Path, timeline: Path, options: argparse.Namespace) -> list[str]:
    """The command of a run's chaos."""
    found = [sys.executable, "-m", "chaos", "run", "--leash", "--run", str(run)]
    found += ["--topology", str(topology), "--timeline", str(timeline), "--seed", str(options.seed)]
    found += ["--duration", options.duration] if options.duration else []
    found += ["--without-reaper"] if options.without_reaper else []
    return found + _restore_within(options)


def restore_argv(topology: Path, options: argparse.Namespace) -> list[str]:
    """The command that restores what a killed chaos process left open, from its journal."""
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
    """Until when a pair of the scenario overhead may be sent."""
    return started_at + baseline_s - QUIET_BEFORE_FAULT_S


class Chaos:
    """An experiment. `follow` in a greenlet of its own, from `start` to the process's end."""

    def __init__(
        self,
        argv: Sequence[str],
        counts: Callable[[], Counts],
        on_event: Callable[[Mapping[str, Any]], None],
        launch: Callable[[Sequence[str]], Leashed] = Leashed,
    ) -> None:
        self.progress = Progress()
        self.over: gevent.event.AsyncResult = gevent.event.AsyncResult()
        self._argv, self._counts, self._on_event, self._launch = argv, counts, on_event, launch
        self._process: Leashed | None = None

    def start(self) -> float:
        """When its clock started. Raises Refusal; the process has ended then."""
        self._process = process = self._launch(self._argv)
        ready = process.first()
        if ready is None or ready["kind"] == "refused":
            code = process.wait()
            raise Refusal(
                ready["why"] if ready else f"chaos did not start (exit {code}); the line above says why"
            )
        return float(ready["started_at"])

    def follow(self) -> None:
        """Read what it reports until it has ended."""
        process = self._process
        assert process is not None, "chaos is started before it is followed"
        try:
            for message in process.lines():
                self._take(process, message)
        finally:  # whatever was wrong with a line: what waits for its end must not wait for ever
            process.let_go()
            self.over.set(process.wait())

    def _take(self, process: Leashed, message: Mapping[str, Any]) -> None:
        match message["kind"]:
            case "status":
                self.progress.status = message
                # Chaos has the guards; the counts that they rest on are here.
                process.tell(json.dumps(asdict(self._counts())))
            case "end":
                self.progress.end_reason = message["reason"]
            case "event":
                self.progress.restoring.heard(message)
                self._on_event(message)

    def stop(self) -> None:
        """Its end of file: it restores now."""
        if self._process is not None:
            self._process.let_go()

    def close(self) -> None:
        """Nothing: it has ended."""

    def conclude(self, report: Verdict, folder: Path) -> Verdict:
        return report

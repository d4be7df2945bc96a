"""Runs one round of chaos in a thread, so that a test can act during it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from chaos import plan, runner
from chaos.preflight import ground_of
from chaos.round import RoundOutcome, StepContext
from chaos.stop import Stop
from chaos.undo.journal import Journal
from contract import timeline
from contract.records import Event
from contract.topology import Topology
from tests.chaos.conftest import NoGuardian
from tests.chaos.passing import Ahead

SHORT = """
hypothesis: it comes back
baseline: 0s
settle: 1s
max: 1m
steps: [{name: gaming, at: 0s, for: 45s, fault: scale_to_zero, target: vllm}]
"""
PASSES_S = 45.0  # a step's duration, which passes as soon as its fault is effective


class Answering:
    """The tier answers at once."""

    def look(self) -> dict[str, Any]:
        return {"answered": "yes"}


class Target(Protocol):
    """The cluster's `stand`, or a tier without one."""

    fault: str

    def topology(self) -> Topology: ...


class RoundThread:
    """One round in a thread, so that a test can act during it."""

    def __init__(
        self,
        target: Target,
        tmp_path: Path,
        restore_within_s: float = 120.0,
        on_event: Callable[[Event], object] = lambda e: None,
        text: str = SHORT,
        question: Any = None,
        hold: bool = False,
    ) -> None:
        """`hold`: the step's time passes when the test calls `pass_` or stops the round; otherwise as soon as the fault is
        effective."""
        path = tmp_path / "short.yaml"
        path.write_text(text.replace("scale_to_zero", target.fault))
        bound = plan.bind(timeline.read(path), target.topology(), "short.yaml")
        self.time = Ahead()
        self.stop, self.journal = Stop(self.time.wait), Journal(tmp_path / "journal")
        self.events: list[Event] = []
        self.outcome: RoundOutcome  # set by the thread
        self.seen: dict[str, threading.Event] = {}

        def record(event: Event) -> None:
            on_event(event)
            self.events.append(event)
            self.passed(f"{event.move} {event.stage}").set()
            if (event.move, event.stage) == ("inject", "effective") and not hold:
                self.pass_()

        guardian_link: Any = NoGuardian()
        context = StepContext(
            run="a-run", folder=tmp_path, clock=self.time, stop=self.stop, journal=self.journal, on_event=record,
            guardian_link=guardian_link, ground=ground_of(target.topology(), without_reaper=False),
            answers=lambda bound, patience_s: None, question=lambda bound, within_s: question or Answering(),
            restore_within_s=restore_within_s, wait=self.time.wait, sleep=self.time.sleep,
        )  # fmt: skip
        self._thread = threading.Thread(target=lambda: self._run(bound, context))
        self._thread.start()

    def pass_(self) -> None:
        self.time.forward(PASSES_S)

    def passed(self, what: str) -> threading.Event:
        return self.seen.setdefault(what, threading.Event())

    def await_(self, what: str) -> None:
        assert self.passed(what).wait(60), f"no {what}; there was {self.stages}"

    def end(self) -> RoundOutcome:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.outcome

    def _run(self, bound: list[plan.Bound], context: StepContext) -> None:
        self.outcome = runner.run(bound, context, context.clock.now(), trial=1)

    @property
    def stages(self) -> list[str]:
        return [f"{e.move} {e.stage}" for e in self.events]


ALL = [
    "inject begin",
    "inject commanded",
    "inject effective",
    "restore begin",
    "restore commanded",
    "restore effective",
]

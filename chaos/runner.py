"""Runs the steps of a round. Each step has its own thread, so that waiting for one fault delays no other step."""

import threading

from chaos.plan import Bound
from chaos.round import RoundOutcome, StepContext
from chaos.step import StepRun


def run(bound: list[Bound], context: StepContext, started_at: float, trial: int) -> RoundOutcome:
    """Run one round, from its start to its last restore; returns after every step has ended."""
    outcome = RoundOutcome()
    lock = threading.Lock()
    threads = []
    last: dict[tuple[str, str], threading.Event] = {}
    for one in sorted(bound, key=lambda b: b.step.at):
        key = one.handle.kind, one.handle.name
        before, last[key] = last.get(key), threading.Event()
        step = StepRun(one, context, started_at, trial, outcome, lock)
        threads.append(
            threading.Thread(target=step.run, args=(before, last[key]), name=f"step {one.step.name}")
        )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcome

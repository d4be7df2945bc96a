"""What one run's chaos makes of a move's stages: how fast the probe asks, and what a terminal shows."""

import threading
from types import SimpleNamespace

import pytest

from chaos.probe.pace import FAST_S, SETTLED_ANSWERS, Pace
from chaos.probe.silence import AnswerWatch
from chaos.run import ChaosRun, leash
from chaos.stop import Stop
from contract.messages import Counts, Log, write
from contract.records import Event


@pytest.fixture
def chaos_run():
    """As much of one as hears of stages."""
    made = ChaosRun.__new__(ChaosRun)
    made.said = []
    made._recording = SimpleNamespace(event=lambda event: None)
    made._probe = SimpleNamespace(lock=threading.Lock())
    made._pace, made._answered = Pace([]), AnswerWatch()
    made._open, made._waiting, made._say = set(), set(), made.said.append
    made._injected, made.left_alone = 0, []
    return made


def tell(chaos_run: ChaosRun, stage: str, step: str = "gaming", move: str = "inject", **more) -> None:
    chaos_run._tell(
        Event(
            at=1.0, run="a-run", move=move, stage=stage, by="timeline", step=step, trial=1, fault="scale_to_zero",
            target="vllm", **more,
        )
    )  # fmt: skip


def fast(chaos_run: ChaosRun) -> bool:
    for _ in range(SETTLED_ANSWERS):
        chaos_run._pace.answered(1, 0.01)
    return chaos_run._pace.interval_s(100.0) == FAST_S


def test_a_move_that_is_waited_for_does_not_keep_the_probe_fast_and_does_not_end_another_ones_haste(
    chaos_run,
):
    tell(chaos_run, "begin")
    tell(chaos_run, "commanded")
    assert fast(chaos_run)
    tell(chaos_run, "waiting", detail={"missing": "1 Pods remain"})
    assert not fast(chaos_run)
    tell(chaos_run, "begin", step="other")
    tell(chaos_run, "effective")  # late: it was counted as ended already
    assert fast(chaos_run)
    tell(chaos_run, "effective", step="other")
    assert not fast(chaos_run)


@pytest.mark.parametrize(
    ("detail", "note"),
    [
        ({"terminating_up_to_s": 90.0}, "terminating, up to 1m30s"),
        ({"missing": "2 of 3 Pods ready"}, "2 of 3 Pods ready"),
        ({"ready": 2, "fewer": "2 replicas are desired now"}, "2 replicas are desired now"),
        ({"pods": 0, "endpoints": 0}, None),
        (None, None),
    ],
)
def test_what_is_waited_for_is_told_with_the_stage(chaos_run, detail, note):
    tell(chaos_run, "commanded", detail=detail)
    assert chaos_run.said[-1].note == note


GONE = "leash: the load generator has gone, or lets go"


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ([], GONE),
        (['{"kind": "counts", "clo'], GONE),  # cut off by its end
        (['{"kind": "counts", "clo\n'], "error: from the load generator: no message: Invalid JSON"),
        (['{"kind": "counts", "cloud": 1}\n'], "error: from the load generator: no message: counts.good: Field required"),
        ([write(Log("a line")) + "\n"], "error: from the load generator: 'log' is no message of a load generator"),
    ],
)  # fmt: skip
def test_what_the_load_generator_sends_are_counts_and_its_end_is_a_stop(monkeypatch, last, reason):
    lines = [write(counts) + "\n" for counts in (Counts(1, 2, 3), Counts(2, 3, 4))] + last
    monkeypatch.setattr("chaos.run.own_stdin", lambda: iter(lines))
    found, stop = [], Stop()
    leash(stop, found.append).join(10)
    assert found == [Counts(1, 2, 3), Counts(2, 3, 4)]
    assert stop.reason.startswith(reason)

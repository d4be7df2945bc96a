"""The effect of a move's stages on a run: the rate of the probe, and the lines on a terminal."""

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
    """Only the parts of a run that handle stages."""
    made = ChaosRun.__new__(ChaosRun)
    made.reported = []
    made._recording = SimpleNamespace(event=lambda event: None)
    made._probe = SimpleNamespace(lock=threading.Lock())
    made._pace, made._answered = Pace([]), AnswerWatch()
    made._open, made._waiting, made._report = set(), set(), made.reported.append
    made._injected, made.left_alone = 0, []
    return made


def stage(chaos_run: ChaosRun, name: str, step: str = "gaming", move: str = "inject", **more) -> None:
    chaos_run._on_event(
        Event(
            at=1.0, run="a-run", move=move, stage=name, by="timeline", step=step, trial=1, fault="scale_to_zero",
            target="vllm", **more,
        )
    )  # fmt: skip


def fast(chaos_run: ChaosRun) -> bool:
    for _ in range(SETTLED_ANSWERS):
        chaos_run._pace.answered(1, 0.01)
    return chaos_run._pace.interval_s(100.0) == FAST_S


def test_a_move_in_stage_waiting_does_not_keep_the_probe_fast_and_does_not_slow_it_for_another_move(
    chaos_run,
):
    stage(chaos_run, "begin")
    stage(chaos_run, "commanded")
    assert fast(chaos_run)
    stage(chaos_run, "waiting", detail={"missing": "1 Pods are left"})
    assert not fast(chaos_run)
    stage(chaos_run, "begin", step="other")
    stage(chaos_run, "effective")  # late: it was counted as ended already
    assert fast(chaos_run)
    stage(chaos_run, "effective", step="other")
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
def test_what_is_missing_is_reported_with_the_stage(chaos_run, detail, note):
    stage(chaos_run, "commanded", detail=detail)
    assert chaos_run.reported[-1].note == note


GONE = "leash: the load generator exited or closed its pipe"


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ([], GONE),
        (['{"kind": "counts", "clo'], GONE),  # truncated at its end
        (['{"kind": "counts", "clo\n'], "error: from the load generator: not a message: Invalid JSON"),
        (['{"kind": "counts", "cloud": 1}\n'], "error: from the load generator: not a message: counts.good: Field required"),
        ([write(Log("a line")) + "\n"], "error: from the load generator: 'log' is not a message of a load generator"),
    ],
)  # fmt: skip
def test_the_load_generator_sends_counts_and_its_end_stops_the_run(monkeypatch, last, reason):
    lines = [write(counts) + "\n" for counts in (Counts(1, 2, 3), Counts(2, 3, 4))] + last
    monkeypatch.setattr("chaos.run.own_stdin", lambda: iter(lines))
    found, stop = [], Stop()
    leash(stop, found.append).join(10)
    assert found == [Counts(1, 2, 3), Counts(2, 3, 4)]
    assert stop.reason.startswith(reason)

"""The status line of a run, and that the report of the same run has the same numbers under the same terms."""

from dataclasses import replace

import pytest

from analysis import frames
from analysis.evidence import Evidence
from analysis.metrics import shares
from analysis.metrics.shares import PROBES
from chaos.probe.silence import AnswerWatch
from contract.messages import FaultEvent, ProbeWait, Status
from contract.records import Lane, Outcome
from scenarios.gateway.status_line import Restoring, live_line, move_line
from scenarios.gateway.tally import Snapshot, Tallies, Tally
from tests.synthetic import make, three_tier
from tests.synthetic_world import START, Hole

STATUS = Status(at=START, elapsed_s=0.0, total_s=0.0, trial=1, up={}, probe=None)
BEFORE = Snapshot(scheduled=100, sent=100, dropped=0, in_flight=0, by_outcome={}, by_tier={})


@pytest.mark.parametrize(
    ("scheduled", "sent", "dropped", "text"),
    [
        (120, 120, 0, "4.0 requests/s, 3 in flight"),
        (160, 145, 0, "12.0 scheduled, 9.0 requests/s, 3 in flight"),  # this process is late
        (160, 122, 38, "12.0 scheduled, 4.4 requests/s, 38 dropped, 3 in flight"),
    ],
)
def test_the_scheduled_rate_is_shown_if_it_was_not_sent(scheduled, sent, dropped, text):
    counts = ({"ok": sent}, {"vllm": sent}) * 2
    now = Snapshot(scheduled, sent, dropped, 3, *counts)
    assert live_line(None, now, BEFORE, 5.0, None, START) == f"{text} │ users: vllm {sent}, no errors"


def test_direct_requests_to_a_tier_that_is_down_are_not_errors_of_users():
    now = Snapshot(
        100, 100, 0, 0, {"ok": 88, "refused": 9, "cut": 3}, {"vllm": 91}, {"ok": 60, "cut": 3}, {"vllm": 60}
    )
    assert now.good_and_bad == (60, 3), "the counts for the guards"
    line = live_line(None, now, BEFORE, 5.0, None, START)
    assert line.endswith("users: vllm 60, 3 cut │ direct and overhead: 9 refused")


@pytest.mark.parametrize(
    ("target", "answered", "text"),
    [
        ("vllm", True, "probe answered by another tier 3.09 s after inject vllm"),
        ("vllm", False, "probe not answered by another tier for 3.1 s since inject vllm"),
        ("gateway", True, "probe answered 3.09 s after inject gateway"),
        ("gateway", False, "probe not answered for 3.1 s since inject gateway"),
    ],
)
def test_the_probe_s_wait_since_an_inject_is_not_called_a_failover(target, answered, text):
    probe = ProbeWait(target, target == "gateway", 3.09, answered)
    line = live_line(replace(STATUS, probe=probe), BEFORE, BEFORE, 5.0, None, START)
    assert line.endswith(f" │ {text}")
    assert "failover" not in line


def test_times_are_since_the_run_s_start_as_in_the_report():
    status = replace(STATUS, at=START + 64.0, elapsed_s=60.0, total_s=200.0)  # chaos was ready 4 s after
    assert live_line(status, BEFORE, BEFORE, 5.0, None, START).startswith("01:04/03:24 │")


@pytest.mark.parametrize(
    ("stage", "error", "line"),
    [
        ("begin", None, None),
        ("commanded", None, "01:23 gaming-mode: inject vllm: commanded"),
        ("effective", None, "01:23 gaming-mode: inject vllm: effective"),
        ("fail", "no such deployment", "01:23 gaming-mode: inject vllm: no such deployment"),
        ("begin", "the guardian is gone", "01:23 gaming-mode: inject vllm: the guardian is gone"),
    ],
)
def test_each_stage_of_a_move_but_its_begin_is_a_line(stage, error, line):
    fault_event = FaultEvent(START + 83.4, "gaming-mode", "vllm", "inject", stage, error, None, None)
    assert move_line(fault_event, START) == line


def test_what_is_waited_for_stands_behind_the_stage():
    fault_event = FaultEvent(
        START + 83.4, "gaming", "vllm", "inject", "commanded", None, None, "terminating, up to 1m30s"
    )
    line = move_line(fault_event, START)
    assert line == "01:23 gaming: inject vllm: commanded (terminating, up to 1m30s)"


def _refused_directly(folder):
    return make(folder, [Hole("s", "vllm", 20, 30, hole_s=3)], duration_s=80, pairs=60)


@pytest.mark.parametrize(
    "made", [three_tier, _refused_directly], ids=["three tiers", "direct requests refused"]
)
@pytest.mark.parametrize("workers", [1, 3])
def test_the_live_line_and_the_report_count_the_same_of_the_same_records(tmp_path, made, workers):
    made = made(tmp_path)
    run = Evidence(frames.read(made.path))
    tallies, together = [Tally() for _ in range(workers)], Tallies()
    for i, record in enumerate(a for a in made.requests if a.lane not in PROBES):
        tallies[i % workers].began(arrived=False)
        tallies[i % workers].ended(record)
    for i, tally in enumerate(tallies):
        together.update(f"w{i}", tally.snapshot())
    now, found = together.snapshot(), shares.continuity(run.frames.requests)
    assert now.sent == run.delivered.sent
    assert sum(now.users.values()) == found.good.total + found.cut + found.stalled + found.abandoned
    assert now.users.get(Outcome.OK, 0) == found.good.hits
    assert now.users.get(Outcome.CUT, 0) == found.cut
    assert now.good_and_bad == (
        found.good.hits,
        found.good.total - found.good.hits + found.cut + found.stalled,
    )
    assert now.served == {of.tier.name: of.users.good for of in run.by_tier if of.users.good}
    elsewhere = [a for a in made.requests if a.lane == Lane.OVERHEAD]
    assert sum(now.others.values()) == len(elsewhere)


def test_the_probe_s_answer_after_an_inject_is_the_one_in_the_records(tmp_path):
    made = make(tmp_path, [Hole("s", "vllm", 20, 30, hang_s=3.0)], duration_s=80)
    run = frames.read(made.path)
    (trial,) = run.trials
    watch = AnswerWatch()
    assert watch.status(START) is None
    ended = [(a.sent_at + a.latency_ms / 1000, a) for a in made.requests if a.lane in PROBES]
    for at, record in sorted(ended, key=lambda e: e[0]):
        if watch.target is None and at > trial.commanded_at:
            watch.taken(trial.commanded_at, "vllm")
            assert watch.status(trial.commanded_at + 1) == ProbeWait("vllm", False, pytest.approx(1.0), False)
        watch.answered(record)
    probe = run.requests[
        run.requests["lane"].isin(PROBES) & run.requests["good"] & (run.requests["tier"] != "vllm")
    ]
    first = probe.loc[probe["scheduled_at"] > trial.commanded_at, "first_at"].min()
    found = watch.status(START + 80)
    assert found.answered
    assert found.s == pytest.approx(first - trial.commanded_at, abs=1e-4)


def test_an_answer_of_the_tier_that_is_away_ends_no_wait(tmp_path):
    made = make(tmp_path, [], duration_s=20)
    watch = AnswerWatch()
    watch.taken(START + 5, "vllm")
    answers = [a for a in made.requests if a.lane in PROBES and a.scheduled_at > START + 5]
    for record in answers:
        watch.answered(record)
    assert not watch.status(START + 20).answered
    watch.returned("vllm")
    watch.answered(answers[-1])
    assert watch.status(START + 20).answered


MISSING = "its process runs, does not answer"


def event(stage, at, move="restore", target="vllm", error=None, **detail):
    return FaultEvent(START + at, "gaming-mode", target, move, stage, error, detail or None, None)


@pytest.mark.parametrize(
    ("fault_event", "line"),
    [
        (event("waiting", 312, missing=MISSING, waited_s=241.0), f"05:12 gaming-mode: vllm: restoring, 4m: {MISSING}"),
        (event("waiting", 312, missing=MISSING, waited_s=31.0), f"05:12 gaming-mode: vllm: restoring, 31s: {MISSING}"),
        (event("effective", 60, answered="yes"), "01:00 gaming-mode: restore vllm: effective"),
        (
            event("effective", 60, answered="unknown", unanswered="vllm has no url"),
            "01:00 gaming-mode: restore vllm: effective (not verified by an answer: vllm has no url)",
        ),
    ],
)  # fmt: skip
def test_a_restore_that_takes_long_or_that_no_answer_verified_is_a_line(fault_event, line):
    assert move_line(fault_event, START) == line


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([], ""),
        ([event("commanded", 30)], ""),
        ([event("waiting", 90, missing=MISSING, waited_s=60.0)], f"vllm: restoring, 4m: {MISSING}"),
        ([event("waiting", 90, waited_s=60.0)], "vllm: restoring, 4m"),
        # The first event of them is as good as the last: it goes on by itself.
        ([event("waiting", at, missing=MISSING, waited_s=at - 30.0) for at in (90, 150, 210)], f"vllm: restoring, 4m: {MISSING}"),
        ([event("waiting", 90, waited_s=60.0), event("waiting", 210, target="ollama", waited_s=30.0)],
         "vllm: restoring, 4m, ollama: restoring, 1m"),
        ([event("waiting", 90, waited_s=60.0), event("effective", 200, answered="yes")], ""),
        ([event("waiting", 90, waited_s=60.0), event("fail", 200, error="not restored")], ""),
        ([event("waiting", 90, move="inject", missing="2 Pods are left")], ""),
    ],
)  # fmt: skip
def test_the_live_line_shows_what_a_restore_waits_for(events, text):
    restoring = Restoring()
    for fault_event in events:
        restoring.update(fault_event)
    assert restoring.describe(START + 278) == text
    line = live_line(
        replace(STATUS, up={"vllm": False}), BEFORE, BEFORE, 5.0, None, START, restoring.describe(START + 278)
    )
    assert line.startswith(f"vllm DOWN │ {text} │ " if text else "vllm DOWN │ 0.0 requests/s")

"""Seconds in which the client was overloaded: which requests they touch, and what is unknown because of them."""

import random

import pandas as pd
import pytest

from analysis import frames, judge
from analysis.evidence import Evidence
from analysis.judging.finding import Status
from analysis.metrics import overload
from contract.records import Lane, Outcome
from contract.samplers.client import Client
from tests.synthetic import make
from tests.synthetic_world import FALLBACK_S, OLLAMA, OPENAI, START, VLLM, Hole, World, answer, refuse

P, F, U = Status.PASS, Status.FAIL, Status.UNKNOWN
HOLE = Hole("s", "vllm", 20, 30, hole_s=1.0)


def world():
    return World((VLLM, OLLAMA, OPENAI), (), random.Random(1))


def judged(made):
    found = judge.judge(Evidence(frames.read(made.path)))
    return found.findings[0]


@pytest.mark.parametrize(
    ("cpu_percent", "lag_ms", "late"),
    [(12, 1, False), (80, 10, False), (80.1, 1, True), (12, 10.1, True), (99, 900, True)],
)
def test_a_second_is_overloaded_by_its_core_or_by_its_lag(cpu_percent, lag_ms, late):
    table = pd.DataFrame([Client(START, "w1", cpu_percent, lag_ms, 4, 4, 4, 0, 0.4, 1)])
    assert len(overload.overloaded_seconds(table)) == late


@pytest.mark.parametrize(
    ("worker", "lane", "sent", "takes_s", "hit"),
    [
        ("w1", Lane.LOAD, 5.2, 0.3, True),  # in the second from 5 to 6
        ("w1", Lane.LOAD, 4.8, 0.5, True),  # it reaches into it
        ("w1", Lane.LOAD, 3.0, 9.0, True),  # it was under way all along
        ("w1", Lane.LOAD, 4.2, 0.5, False),  # it was over before
        ("w1", Lane.LOAD, 6.1, 0.5, False),
        ("w2", Lane.LOAD, 5.2, 0.3, False),  # another load generator sent it
        (None, Lane.LOAD, 5.2, 0.3, False),
        ("w1", Lane.PROBE_NEW, 5.2, 0.3, False),  # the chaos controller sends the probe's requests
    ],
)
def test_a_request_is_touched_by_its_own_workers_seconds(tmp_path, worker, lane, sent, takes_s, hit):
    record = answer(world().new(sent, lane), "vllm", takes_s)
    record.worker = worker
    made = make(
        tmp_path, rate=0, probe_rate=0, pairs=0, extra=[record], overloaded=[(5.1, 5.9)], duration_s=20
    )
    assert frames.read(made.path).requests["touched"].tolist() == [hit]


def test_of_several_workers_each_touches_its_own(tmp_path):
    requests = pd.DataFrame(
        {
            "worker": ["a", "b"] * 3,
            "lane": "load",
            "scheduled_at": [1.2, 1.2, 2.2, 2.2, 3.2, 3.2],
            "sent_at": 0.0,
        }
    ).assign(ended_at=lambda t: t["scheduled_at"] + 0.1)
    seconds = pd.DataFrame({"at": [2.0, 4.0, 3.0], "worker": ["a", "a", "b"]})
    assert overload.touched(requests, seconds).tolist() == [True, False, False, True, True, False]


def failover_of(tmp_path, **more):
    expect = {"failover": {"step": "s", "to": "ollama", "max_s": 5}}
    return judged(make(tmp_path, [HOLE], duration_s=70, pairs=0, expect=expect, **more))


def test_a_client_overloaded_during_the_failover_makes_it_unknown_and_says_so(tmp_path):
    found = failover_of(tmp_path, probe_rate=0, overloaded=[(19, 25)])
    assert found.status is U
    assert found.trials[0].value is None
    assert (
        "the load generator was overloaded in these seconds, and no other client sent requests"
        in found.evidence
    )


def test_with_probe_requests_the_failover_does_not_depend_on_the_client(tmp_path):
    found = failover_of(tmp_path, overloaded=[(19, 25)])
    assert found.status is P
    assert found.value == pytest.approx(1.0 + FALLBACK_S + OLLAMA.ttft_s, abs=0.3)


def test_a_client_overloaded_at_another_time_touches_no_failover(tmp_path):
    assert failover_of(tmp_path, probe_rate=0, overloaded=[(5, 15), (40, 60)]).status is P


def test_a_client_overloaded_during_the_recovery_makes_it_unknown(tmp_path):
    hole = Hole("s", "vllm", 20, 20, sticky_s=4.0)  # back at 42, in use from 46
    more = {"duration_s": 80, "pairs": 0, "probe_rate": 0, "expect": {"recovery": {"max_s": 60}}}
    assert judged(make(tmp_path / "a", [hole], overloaded=[(43, 52)], **more)).status is U
    assert judged(make(tmp_path / "b", [hole], overloaded=[(10, 30)], **more)).status is P


def test_a_cut_that_an_overloaded_client_saw_counts_from_commanded_on(tmp_path):
    # The stream may have ended any time before the client read it.
    from tests.synthetic_world import cut

    late = cut(answer(world().new(15.0, Lane.LOAD), "vllm", 0.1, [0.5] * 30), 8.0)  # seen at 23
    quiet = {"rate": 0, "probe_rate": 0, "pairs": 0, "health": False, "duration_s": 70, "extra": [late]}
    hole = Hole("s", "vllm", 20, 30, lost_after_s=1.0)
    run = Evidence(frames.read(make(tmp_path / "a", [hole], **quiet).path))
    assert run.lost[("s", 1)].at == pytest.approx(START + 23)
    run = Evidence(frames.read(make(tmp_path / "b", [hole], overloaded=[(21, 24)], **quiet).path))
    assert run.lost[("s", 1)].at == pytest.approx(START + 20)


def failed(outcome, count, at=10.0, **more):
    w = world()
    w.counter = 90_000
    return [refuse(w.new(at + i / 100, Lane.LOAD), outcome, None, **more) for i in range(count)]


@pytest.mark.parametrize(
    ("outcome", "overloaded", "status"),
    [
        (Outcome.TIMEOUT, (), F),
        (Outcome.TIMEOUT, [(9, 12)], U),  # it may have read too late
        (Outcome.TIMEOUT, [(30, 40)], F),  # a failure seen in clean seconds is one
        (Outcome.REJECTED, [(9, 12)], F),  # the client cannot cause a status 500
        (Outcome.REFUSED, [(9, 12)], F),
        (Outcome.STALLED, [(9, 12)], P),  # counted apart
        (Outcome.ABANDONED, [(9, 12)], P),
    ],
)
def test_only_what_the_client_may_have_made_itself_leaves_continuity_unknown(
    tmp_path, outcome, overloaded, status
):
    made = make(
        tmp_path, rate=2, probe_rate=0, pairs=0, duration_s=60, overloaded=overloaded, extra=failed(outcome, 40),
        expect={"continuity": {"min_good": 0.9}},
    )  # fmt: skip
    assert judged(made).status is status


def test_failures_in_clean_seconds_still_fail_beside_doubtful_ones(tmp_path):
    extra = [*failed(Outcome.TIMEOUT, 40), *failed(Outcome.REJECTED, 40, at=30)]
    made = make(
        tmp_path, rate=2, probe_rate=0, pairs=0, duration_s=60, overloaded=[(9, 12)], extra=extra,
        expect={"continuity": {"min_good": 0.9}},
    )  # fmt: skip
    assert judged(made).status is F


@pytest.mark.parametrize(
    ("outcome", "overloaded", "status"),
    [(Outcome.STALLED, (), F), (Outcome.STALLED, [(20, 26)], U), (Outcome.CUT, [(20, 26)], F)],
)
def test_stalls_of_an_overloaded_client_leave_the_cuts_unknown(tmp_path, outcome, overloaded, status):
    extra = failed(outcome, 8, at=22.0)
    for record in extra:
        record.tier = "vllm"
    made = make(
        tmp_path, [HOLE], rate=1, pairs=0, duration_s=60, overloaded=overloaded, extra=extra,
        expect={"cuts": {"max_per_trial": 3}},
    )  # fmt: skip
    found = judged(made)
    assert found.status is status
    assert f"({8 if outcome == Outcome.STALLED else 0} of them stalled)" in found.evidence


@pytest.mark.parametrize(
    ("max_ms", "overloaded", "status"),
    [
        (1000, (), P),
        (100, (), F),
        (1000, [(0, 60)], U),  # all of them
        (1000, [(10, 12)], P),  # so few that p95 stays within the limit, had they been endless
        (100, [(10, 12)], F),  # or beyond it, had they been nothing
        (1000, [(10, 20)], U),
    ],
)  # fmt: skip
def test_touched_latencies_are_taken_once_for_nothing_and_once_for_endless(
    tmp_path, max_ms, overloaded, status
):
    made = make(
        tmp_path, rate=6, probe_rate=0, pairs=0, duration_s=60, overloaded=overloaded,
        expect={"latency": {"tier": "vllm", "quantile": 0.95, "max_ms": max_ms}},
    )  # fmt: skip
    assert judged(made).status is status


@pytest.mark.parametrize(
    ("ttft_s", "overloaded", "status"),
    [(0.2, (), P), (3.0, (), F), (3.0, [(9, 14)], U), (3.0, [(40, 50)], F)],
)
def test_slow_answers_to_an_overloaded_client_leave_the_goodput_unknown(tmp_path, ttft_s, overloaded, status):
    w = world()
    w.counter = 90_000
    extra = [answer(w.new(10 + i / 100, Lane.LOAD), "vllm", ttft_s) for i in range(40)]
    made = make(
        tmp_path, rate=2, probe_rate=0, pairs=0, duration_s=60, overloaded=overloaded, extra=extra,
        expect={"goodput": {"min": 0.9}},
    )  # fmt: skip
    assert judged(made).status is status

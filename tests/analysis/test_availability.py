"""Down, brown and unprobed time: the known truth of a synthetic run is found."""

import random

import numpy as np
import pytest

from analysis import frames, judge
from analysis.evidence import Evidence
from analysis.judging.finding import Status
from analysis.metrics import availability
from analysis.metrics.availability import Stretches, worst_window
from contract.records import Lane
from tests.synthetic import make
from tests.synthetic_world import OLLAMA, OPENAI, START, VLLM, Hole, World, answer

P, F, U = Status.PASS, Status.FAIL, Status.UNKNOWN
HOLE = Hole("s", "vllm", 20, 30, hole_s=7.3)


def world():
    w = World((VLLM, OLLAMA, OPENAI), (), random.Random(1))
    w.counter = 90_000
    return w


def seen(made):
    return Evidence(frames.read(made.path))


def stretches(*spans):
    return Stretches(np.array([a for a, _ in spans], float), np.array([b for _, b in spans], float))


@pytest.mark.parametrize("hole_s", [0.0, 2.0, 7.3])
def test_unavailability_is_the_union_of_both_lanes(tmp_path, hole_s):
    hole = Hole("s", "vllm", 20, 40, hole_s=hole_s)
    run = seen(make(tmp_path, [hole], duration_s=80))
    assert run.down.s == pytest.approx(hole_s, abs=0.25)
    assert len(run.down) == bool(hole_s)
    assert run.unprobed.s == 0


def test_one_good_answer_inside_an_outage_ends_it_only_until_the_next_request(tmp_path):
    flap = answer(world().new(23.1, Lane.PROBE_NEW), "ollama", 0.05)
    run = seen(make(tmp_path, [HOLE], duration_s=80, extra=[flap]))
    assert len(run.down) == 2
    assert run.down.s == pytest.approx(7.3 - 0.13, abs=0.25)


def test_what_is_down_when_a_time_begins_counts_from_its_beginning(tmp_path):
    requests = frames.read(make(tmp_path, [HOLE], duration_s=80).path).requests
    assert availability.down(requests, START + 24, START + 25).s == pytest.approx(1.0)
    assert availability.down(requests, START + 40, START + 50).s == 0
    assert availability.down(requests.iloc[:0], START, START + 80) is None


@pytest.mark.parametrize(
    ("spans", "window_s", "worst"),
    [
        ([(10, 13)], 60, 3),
        ([(10, 13)], 1, 1),
        ([(10, 12), (15, 17)], 10, 4),
        (
            [(10, 12), (15, 17)],
            5,
            2,
        ),  # it reaches from one to the other, and holds 2 s of them wherever it lies
        ([(10, 12), (13, 17)], 5, 4),
        ([(10, 12), (14, 15), (30, 33)], 5, 3),
        ([(10, 11), (12, 13), (14, 15)], 4, 2),
        ([(0, 100)], 60, 60),
        ([], 10, 0),
    ],
)
def test_the_worst_window_holds_the_most_seconds_that_any_window_holds(spans, window_s, worst):
    assert worst_window(stretches(*spans), window_s)[0] == pytest.approx(worst)
    # By hand: every window that begins on a grid.
    for begins in np.arange(-70, 110, 0.25):
        assert stretches(*spans).within(begins, begins + window_s).s <= worst + 1e-9


@pytest.mark.parametrize("hang_s", [3.0, 8.0])
def test_answers_that_are_good_and_too_late_are_a_brown_out_and_no_outage(tmp_path, hang_s):
    hole = Hole("s", "vllm", 20, 40, hang_s=hang_s)  # objective: TTFT within 2 s
    run = seen(make(tmp_path, [hole], duration_s=80, pairs=0))
    assert run.down.s == 0
    assert run.brown.s == pytest.approx(hang_s + OLLAMA.ttft_s - 2.0, abs=0.3)
    assert len(run.brown) == 1
    late = [
        a
        for a in run.frames.requests.to_dict("records")
        if a["lane"] == "load" and a["outcome"] == "ok" and a["ttft_ms"] > 2000
    ]
    assert availability.brown_answers(run.frames.requests, 2000) == len(late) > 0
    assert availability.brown_answers(run.frames.requests, None) == 0


def test_without_an_objective_nothing_is_known_of_brown_outs(tmp_path):
    run = seen(make(tmp_path, [HOLE], duration_s=60))
    assert availability.brown(run.frames.requests, START, START + 60, None) is None


@pytest.mark.parametrize(
    ("stalled", "s"),
    [
        ((), 0),
        ([(5, 7)], 0),  # away from faults it sends a request every two seconds, and may be late
        ([(5, 15)], 10 - 4),
        ([(19.5, 22.5)], 1.55),  # begun at 19.95, verified at 21.5
        # 2 s while the restore is verified (49.95 to 52), and what is beyond 5.3 s, behind a tier that takes 0.28 s
        ([(49, 60)], 2.05 + 11.2 - 5.3),
    ],
)
def test_slots_without_a_request_and_not_covered_are_found(tmp_path, stalled, s):
    hole = Hole("s", "vllm", 20, 30, hole_s=1.0)
    run = seen(make(tmp_path, [hole], duration_s=120, stalled=stalled))
    assert run.unprobed.s == pytest.approx(s, abs=0.3)


def test_a_slot_that_is_covered_was_not_missed(tmp_path):
    w = world()
    waiting = answer(w.new(30.0, Lane.PROBE_NEW), "ollama", 20.0)
    slots = [w.new(30 + 2 * i, Lane.PROBE_NEW, covered_by=waiting.request_id) for i in range(1, 10)]
    for slot in slots:
        slot.sent_at = None
    run = seen(make(tmp_path, duration_s=90, stalled=[(30, 50)], extra=[waiting, *slots]))
    assert run.unprobed.s == 0


def test_behind_a_slow_tier_the_probe_may_send_requests_rarely(tmp_path):
    # A tenth of what a tier can do that takes three seconds for a token: one request in thirty seconds.
    w = world()
    requests = [answer(w.new(30.0 * i, Lane.PROBE_NEW), "ollama", 3.0) for i in range(10)]
    run = seen(make(tmp_path, duration_s=300, probe_rate=0, extra=requests))
    assert run.unprobed.s == 0


def judged(made):
    run = seen(made)
    return judge.judge(run).findings[0], run


@pytest.mark.parametrize(
    ("expect", "stalled", "status"),
    [
        ({"max_s": 8}, (), P),
        ({"max_s": 7}, (), F),
        ({"max_s": 7, "window": "60s"}, (), F),
        ({"max_s": 5, "window": "5s"}, (), P),  # no window of five seconds holds more
        ({"max_s": 4, "window": "5s"}, (), F),
        ({"max_s": 9}, [(70, 85)], U),  # availability is unknown for 11 of these seconds
        ({"max_s": 20}, [(70, 85)], P),  # even had all of them been bad
        ({"max_s": 7}, [(70, 85)], F),
    ],
)
def test_availability_is_judged_between_what_was_seen_and_what_was_not(tmp_path, expect, stalled, status):
    more = {"pairs": 0, "duration_s": 120, "stalled": stalled, "expect": {"availability": expect}}
    found, _ = judged(make(tmp_path, [HOLE], **more))
    assert found.status is status, found


def test_a_run_with_no_probe_knows_of_no_availability(tmp_path):
    expect = {"availability": {"max_s": 1000}}
    found, run = judged(make(tmp_path, [HOLE], probe_rate=0, duration_s=80, expect=expect))
    assert (found.status, found.evidence) == (U, "the probe sent no request")
    assert run.brown is None
    assert run.unprobed.s > 50


@pytest.mark.parametrize(("hole_s", "status"), [(1.0, P), (7.3, U)])
def test_beyond_its_limit_a_failover_needs_probe_requests(tmp_path, hole_s, status):
    # Only users saw it: within the limit that is proof; beyond it, there may have been no request while it was good.
    hole = Hole("s", "vllm", 20, 30, hole_s=hole_s)
    expect = {"failover": {"step": "s", "to": "ollama", "max_s": 5}}
    found, _ = judged(make(tmp_path, [hole], probe_rate=0, pairs=0, duration_s=70, expect=expect))
    assert found.status is status
    assert ("the probe sent no request for" in found.evidence) == (status is U)

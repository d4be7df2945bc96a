"""The known truth of a synthetic run is found: lost, failover, gap, recovery."""

import json
import random
import shutil

import pytest

from analysis import frames, judge
from analysis.evidence import Evidence
from analysis.metrics import outages
from contract.records import Lane, Outcome
from tests.synthetic import make, three_tier
from tests.synthetic_world import FALLBACK_S, OLLAMA, OPENAI, START, VLLM, Hole, World, answer, refuse

LANES = (Lane.PROBE_NEW, Lane.PROBE_KEPT)


def seen(made):
    return Evidence(frames.read(made.path))


def the(run, step="freeze", trial=1):
    return next(t for t in run.trials if (t.step, t.trial) == (step, trial))


def failover(run, to="ollama", **which):
    trial = the(run, **which)
    return outages.failover(
        run.frames.requests[run.frames.through_gateway], run.frames.covered, trial, run.lost_at(trial), to
    )


@pytest.mark.parametrize("hole_s", [0.9, 2.0, 7.3, 15.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_hole_is_found_within_the_bounds_of_its_requests(tmp_path, hole_s, seed):
    made = make(tmp_path, [Hole("freeze", "vllm", 20, 30, hole_s=hole_s)], duration_s=70, seed=seed)
    run = seen(made)
    trial = the(run)
    for lane in LANES:
        gap = outages.failover_gap(run.frames.requests, trial, run.lost_at(trial), lane, run.frames.ranks)
        assert gap.lower_s <= hole_s <= gap.upper_s
        assert gap.upper_s - gap.lower_s < 1.6  # two intervals of the lane, and a first token
    # The probe sends five requests per second: the loss and the next answer are each known within 0.2 s.
    took = failover(run)
    assert took.s == pytest.approx(hole_s + FALLBACK_S + OLLAMA.ttft_s, abs=0.3)
    assert run.lost_at(trial) == pytest.approx(made.lost_at("freeze"), abs=0.25)


@pytest.mark.parametrize("hang_s", [3.0, 7.3])
def test_a_gateway_that_hangs_before_it_falls_back_is_a_gap_although_every_request_ends_well(
    tmp_path, hang_s
):
    made = make(tmp_path, [Hole("freeze", "vllm", 20, 60, hang_s=hang_s)], duration_s=100)
    run = seen(made)
    trial = the(run)
    gap = outages.failover_gap(
        run.frames.requests, trial, run.lost_at(trial), Lane.PROBE_NEW, run.frames.ranks
    )
    assert gap.lower_s <= hang_s <= gap.upper_s
    assert gap.lower_s > hang_s - 1.0
    assert failover(run).s == pytest.approx(hang_s + OLLAMA.ttft_s, abs=0.35)


def test_the_clock_starts_where_the_port_is_refused_not_where_the_last_pod_is_gone(tmp_path):
    made = make(tmp_path, [Hole("freeze", "vllm", 20, 40, hole_s=2.0, effective_after_s=8.2)], duration_s=80)
    run = seen(made)
    assert the(run).effective_at - run.lost_at(the(run)) > 7.5
    assert failover(run).s > 2.0  # from effective on it would be less than nothing


def test_a_kept_connection_that_is_served_longer_has_its_own_gap(tmp_path):
    made = make(tmp_path, [Hole("freeze", "vllm", 20, 40, hole_s=2.0, kept_s=8.0)], duration_s=80)
    run = seen(made)
    for lane in LANES:
        gap = outages.failover_gap(
            run.frames.requests, the(run), run.lost_at(the(run)), lane, run.frames.ranks
        )
        assert gap.lower_s <= 2.0 <= gap.upper_s


def world():
    return World((VLLM, OLLAMA, OPENAI), (), random.Random(1))


def test_one_flapping_answer_does_not_end_a_gap(tmp_path):
    made = make(tmp_path, [Hole("freeze", "vllm", 20, 40, hole_s=6.0)], duration_s=80)
    # one good answer of each lane in the middle of the hole
    flaps = [answer(world().new(23.1 + i / 10, lane), "ollama", 0.05) for i, lane in enumerate(LANES)]
    again = make(tmp_path, made.steps, duration_s=80, extra=flaps, name="flapping")
    run = seen(again)
    gap = outages.failover_gap(
        run.frames.requests, the(run), run.lost_at(the(run)), Lane.PROBE_NEW, run.frames.ranks
    )
    assert gap.lower_s <= 6.0 <= gap.upper_s


def test_a_request_sent_before_the_restore_and_answered_after_it_is_no_recovery(tmp_path):
    hole = Hole("freeze", "vllm", 20, 20, sticky_s=9.0)
    early = [answer(world().new(hole.back - 1 + i / 10, Lane.LOAD), "vllm", 1.5) for i in range(4)]
    run = seen(make(tmp_path, [hole], duration_s=80, extra=early))
    back = outages.recovery(run.frames.requests, the(run), run.trials, run.frames.ranks)
    assert back.s == pytest.approx(9.0 + VLLM.ttft_s, abs=0.3)


def test_two_answers_and_another_tier_between_are_not_a_recovery(tmp_path):
    hole = Hole("freeze", "vllm", 20, 20, sticky_s=9.0)
    flaps = [answer(world().new(hole.back + 2 + i / 100, Lane.LOAD), "vllm", 0.08) for i in range(2)]
    run = seen(make(tmp_path, [hole], duration_s=80, extra=flaps))
    assert outages.recovery(run.frames.requests, the(run), run.trials, run.frames.ranks).s > 8.9


def test_a_recovery_that_outlasts_the_run_is_censored(tmp_path):
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 20, sticky_s=500)], duration_s=80))
    back = outages.recovery(run.frames.requests, the(run), run.trials, run.frames.ranks)
    assert back.censored
    assert back.s == pytest.approx(80 - 42, abs=2.5)


def test_a_lower_tier_that_returns_under_a_serving_one_is_not_seen(tmp_path):
    run = seen(make(tmp_path, [Hole("freeze", "ollama", 20, 20)], duration_s=60))
    assert outages.recovery(run.frames.requests, the(run), run.trials, run.frames.ranks) is None


def test_a_lower_tier_that_returns_while_the_higher_one_is_gone_is_seen(tmp_path):
    run = seen(three_tier(tmp_path))
    back = outages.recovery(run.frames.requests, the(run, "cpu-tier-too"), run.trials, run.frames.ranks)
    assert back.s == pytest.approx(OLLAMA.ttft_s, abs=0.3)


def test_without_a_fallback_failover_is_censored_by_the_restore(tmp_path):
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 20)], duration_s=60, engines=(VLLM,), pairs=0))
    took = failover(run)
    assert took.censored
    assert took.s == pytest.approx(22 - 0.2, abs=0.3)


def test_a_fault_that_nothing_showed_has_no_loss(tmp_path):
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 20)], duration_s=60, rate=0, probe_rate=0, pairs=0, health=False))  # fmt: skip
    assert run.lost_at(the(run)) is None


def test_a_health_check_alone_shows_a_loss(tmp_path):
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 20)], duration_s=60, rate=0, probe_rate=0, pairs=0))
    assert run.lost[("freeze", 1)].evidence == "its health check failed"
    assert run.lost_at(the(run)) == START + 20.5


def test_a_model_that_ends_early_is_no_loss_while_the_tier_answers_on(tmp_path):
    early = world().new(20.0, Lane.LOAD)
    answer(early, "vllm", 0.05)
    early.outcome = Outcome.CUT
    run = seen(
        make(tmp_path, [Hole("freeze", "vllm", 20, 30, lost_after_s=5.0)], duration_s=70, extra=[early])
    )
    assert run.lost_at(the(run)) == pytest.approx(START + 25, abs=0.25)


def test_the_loss_of_a_lower_tier_is_seen_only_while_the_higher_one_is_held(tmp_path):
    run = seen(three_tier(tmp_path))
    lost = run.lost_at(the(run, "cpu-tier-too"))
    assert lost == pytest.approx(START + 90.2, abs=0.3)
    assert failover(run, to="openai", step="cpu-tier-too").s == pytest.approx(
        FALLBACK_S + OPENAI.ttft_s, abs=0.3
    )


def test_failed_requests_before_the_fault_do_not_count_for_it(tmp_path):
    earlier = [refuse(world().new(19.0, Lane.LOAD), Outcome.REJECTED, 500)]
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 20)], duration_s=60, extra=earlier))
    assert run.lost_at(the(run)) >= START + 20


def test_a_covered_slot_is_answered_by_the_request_that_covers_it(tmp_path):
    # The probe's place waits from before the fault; the health check shows the loss at 20.5; no request until 26.
    w = world()
    waiting = answer(w.new(19.9, Lane.PROBE_NEW), "ollama", 1.5)
    slot = w.new(20.6, Lane.PROBE_NEW, covered_by=waiting.request_id)
    slot.sent_at = None
    late = answer(w.new(26.0, Lane.PROBE_NEW), "ollama", 0.3)
    hole = Hole("freeze", "vllm", 20, 40)
    quiet = {"rate": 0, "probe_rate": 0, "pairs": 0, "duration_s": 80}
    without = failover(seen(make(tmp_path / "a", [hole], extra=[waiting, late], **quiet)))
    covered = failover(seen(make(tmp_path / "b", [hole], extra=[waiting, slot, late], **quiet)))
    assert without.s == pytest.approx(26.3 - 20.5, abs=0.01)
    assert covered.s == pytest.approx(21.4 - 20.5, abs=0.01)


def calm(run, tier, scenario):
    return outages.calm_ttft_s(run.frames.requests, run.trials, tier, scenario)


@pytest.mark.parametrize("hole_s", [0.0, 1.0, 3.0])
def test_detection_is_the_failover_less_what_the_next_tier_takes_when_calm(tmp_path, hole_s):
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 40, hole_s=hole_s)], duration_s=80))
    took = failover(run)
    assert calm(run, "ollama", took.scenario) == pytest.approx(OLLAMA.ttft_s, rel=0.05)
    assert outages.detection(took, calm(run, "ollama", took.scenario)) == pytest.approx(
        hole_s + FALLBACK_S, abs=0.3
    )


def test_calm_latency_is_of_the_same_kind_of_requests(tmp_path):
    w = world()
    requests = [answer(w.new(30 + i, Lane.LOAD), "ollama", 2.0) for i in range(9)]  # long prompts
    for i, record in enumerate(requests):
        record.scenario, record.request_id = "long_prompt", f"long-{i}"
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 40)], duration_s=80, rate=0, extra=requests))
    assert calm(run, "ollama", "long_prompt") == pytest.approx(2.0)
    assert calm(run, "ollama", "probe_new") == pytest.approx(OLLAMA.ttft_s, rel=0.05)


def test_calm_latency_excludes_transition_and_restoring(tmp_path):
    hole = Hole("freeze", "vllm", 20, 10, effective_after_s=9.9, restore_s=8, hang_s=9)
    run = seen(make(tmp_path, [hole], duration_s=60))
    assert calm(run, "ollama", "probe_new") is None  # it answered in transition and restoring alone
    assert outages.detection(failover(run), None) is None


def test_a_failover_without_a_seen_end_has_no_detection():
    assert outages.detection(outages.Length(9.0, censored=True), 0.2) is None


def test_detection_by_the_ledger_is_the_arrival_of_the_request_that_ended_the_failover(tmp_path):
    made = make(tmp_path, [Hole("freeze", "vllm", 20, 40, hole_s=2.0)], duration_s=80)
    took = failover(seen(made))
    arrived_at = made.lost_at("freeze") + 2.0 + FALLBACK_S
    (made.path / "ledger").mkdir()
    lines = [
        {
            "line": "arrived",
            "id": "1",
            "pid": 7,
            "nonce": took.record,
            "arrived_at": arrived_at,
            "stream": True,
        },
        {"line": "ended", "id": "1", "chunks": [1.0, 2.0], "how": "length", "fault": None},
        {"line": "arrived", "id": "2", "pid": 7, "nonce": None, "arrived_at": 1.0, "stream": True},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (made.path / "ledger" / "ollama.jsonl").write_text(text + '{"line": "arri')  # torn
    (made.path / "ledger" / "vllm.jsonl").write_text("")
    run = seen(made)
    lost_at = run.lost_at(the(run))
    assert run.detection(took, lost_at, "ollama")[1] == pytest.approx(arrived_at - lost_at)
    assert run.detection(took, lost_at, "vllm")[1] is None
    assert "by its ledger)" in judge.judge(seen(make_expecting(tmp_path, made))).findings[0].evidence


def make_expecting(tmp_path, made):
    expect = {"failover": {"step": "freeze", "to": "ollama", "max_s": 5}}
    again = make(tmp_path / "again", made.steps, duration_s=80, expect=expect)
    shutil.copytree(made.path / "ledger", again.path / "ledger")
    return again


def test_without_a_ledger_there_is_no_ledger_detection(tmp_path):
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 40)], duration_s=80))
    assert run.frames.ledgers == {}
    assert run.detection(failover(run), run.lost_at(the(run)), "ollama")[1] is None


def test_the_lost_tiers_last_answer_covers_a_slot_and_takes_over_nothing(tmp_path):
    w = world()
    last = answer(w.new(19.9, Lane.PROBE_NEW), "vllm", 1.5)  # sent before, and still answered at 21.4
    slot = w.new(20.6, Lane.PROBE_NEW, covered_by=last.request_id)
    slot.sent_at = None
    next_one = answer(w.new(21.6, Lane.PROBE_NEW), "ollama", 0.3)
    run = seen(
        make(
            tmp_path,
            [Hole("freeze", "vllm", 20, 40)],
            rate=0,
            probe_rate=0,
            pairs=0,
            duration_s=80,
            extra=[last, slot, next_one],
        )
    )
    first = outages.first_answer(
        run.frames.requests[run.frames.through_gateway], run.frames.covered, the(run), run.lost_at(the(run))
    )
    assert first["request_id"] == next_one.request_id


def test_one_good_answer_between_failures_is_no_recovery(tmp_path):
    hole = Hole("freeze", "vllm", 20, 20, sticky_s=9.0)
    flap = answer(world().new(hole.back + 2, Lane.LOAD), "vllm", 0.08)
    run = seen(make(tmp_path, [hole], duration_s=80, extra=[flap]))
    assert outages.recovery(run.frames.requests, the(run), run.trials, run.frames.ranks).s > 8.9


@pytest.mark.parametrize(("limit_s", "status"), [(5, "fail"), (60, "unknown")])
def test_a_censored_trial_is_no_pass(tmp_path, limit_s, status):
    made = make(
        tmp_path, [Hole("freeze", "vllm", 20, 20, sticky_s=500)], duration_s=80,
        expect={"recovery": {"max_s": limit_s}},
    )  # fmt: skip
    found = judge.judge(seen(made)).findings[0]
    assert (found.status, found.trials[0].censored) == (status, True)
    assert found.measured.startswith("> 3")


def test_requests_sent_while_all_was_down_and_answered_after_a_return_prove_and_leak_nothing(tmp_path):
    # vllm gone 20.2 to 60, ollama 30.2 to 44: the cloud gets a request at 40, and its answer comes when ollama has returned.
    steps = [Hole("freeze", "vllm", 20, 38), Hole("cpu", "ollama", 30, 12)]
    requests = [answer(world().new(40 + i / 10, Lane.LOAD), "openai", 6.0) for i in range(3)]
    requests += [answer(world().new(41 + i / 10, Lane.LOAD), "ollama", 4.0) for i in range(3)]
    for i, record in enumerate(requests):
        record.request_id = f"late-{i}"
    quiet = {"rate": 0, "probe_rate": 0, "pairs": 0, "duration_s": 80}
    run = seen(make(tmp_path, steps, extra=requests, expect={"cloud_only_in_need": {}}, **quiet))
    back = outages.recovery(run.frames.requests, the(run, "cpu"), run.trials, run.frames.ranks)
    assert back.censored  # the three answers by ollama were for requests before its restore was verified
    cloud = run.lower[run.lower["tier"] == "openai"]
    assert set(cloud["why"]) == {"needed"}
    assert judge.judge(run).findings[0].status == "pass"


@pytest.mark.parametrize(
    ("max_s", "more", "status"),
    [
        (9, {}, "pass"),
        (5, {}, "fail"),
        (7.3, {}, "unknown"),  # between the bounds: two intervals of a lane
        (9, {"probe_rate": 0}, "unknown"),
        (
            9,
            {"stalled": [(20, 32)]},
            "unknown",
        ),  # it ended within 8 s, but there was no probe request to show it
        (9, {"events": []}, "unknown"),
    ],
)
def test_a_gap_is_judged_by_its_bounds(tmp_path, max_s, more, status):
    expect = {"failover_gap": {"step": "freeze", "max_s": max_s}}
    made = make(
        tmp_path, [Hole("freeze", "vllm", 20, 40, hole_s=7.3)], duration_s=80, pairs=0, expect=expect, **more
    )
    assert judge.judge(seen(made)).findings[0].status == status


def test_a_gap_whose_end_was_not_seen_passes_nothing(tmp_path):
    expect = {"failover_gap": {"step": "freeze", "max_s": 500}}
    made = make(
        tmp_path, [Hole("freeze", "vllm", 20, 60)], engines=(VLLM,), duration_s=70, pairs=0, expect=expect
    )
    found = judge.judge(seen(made)).findings[0]
    assert (found.status, found.value) == ("unknown", None)
    assert "an unknown end" in found.measured

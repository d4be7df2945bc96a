"""The truth is put in, and found again: lost, failover, gap, recovery."""

import random

import pytest

from analysis import availability, frames, outages
from analysis.evidence import Evidence
from contract.records import Lane, Outcome
from tests.synthetic import (
    FALLBACK_S,
    OLLAMA,
    OPENAI,
    START,
    VLLM,
    Hole,
    World,
    answer,
    make,
    refuse,
    three_tier,
)

LANES = (Lane.PROBE_NEW, Lane.PROBE_KEPT)


def seen(made):
    return Evidence(frames.read(made.path))


def the(run, step="freeze", trial=1):
    return next(t for t in run.trials if (t.step, t.trial) == (step, trial))


def failover(run, to="ollama", **which):
    trial = the(run, **which)
    return outages.failover(run.frames.gateway_asks, run.frames.covered, trial, run.lost_at(trial), to)


@pytest.mark.parametrize("hole_s", [0.9, 2.0, 7.3, 15.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_hole_is_found_within_the_bounds_of_its_asks(tmp_path, hole_s, seed):
    made = make(tmp_path, [Hole("freeze", "vllm", 20, 30, hole_s=hole_s)], duration_s=70, seed=seed)
    run = seen(made)
    trial = the(run)
    for lane in LANES:
        gap = outages.failover_gap(run.frames.asks, trial, run.lost_at(trial), lane)
        assert gap.lower_s <= hole_s <= gap.upper_s
        assert gap.upper_s - gap.lower_s < 1.6  # two intervals of the lane, and a first token
    # The probe asks five times a second: the loss is known, and the answer asked for, within 0.2 s each.
    took = failover(run)
    assert took.s == pytest.approx(hole_s + FALLBACK_S + OLLAMA.ttft_s, abs=0.3)
    assert run.lost_at(trial) == pytest.approx(made.lost_at("freeze"), abs=0.25)


@pytest.mark.parametrize("hang_s", [3.0, 7.3])
def test_a_gateway_that_hangs_before_it_falls_back_is_a_gap_although_every_ask_ends_well(tmp_path, hang_s):
    made = make(tmp_path, [Hole("freeze", "vllm", 20, 60, hang_s=hang_s)], duration_s=100)
    run = seen(made)
    trial = the(run)
    gap = outages.failover_gap(run.frames.asks, trial, run.lost_at(trial), Lane.PROBE_NEW)
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
        gap = outages.failover_gap(run.frames.asks, the(run), run.lost_at(the(run)), lane)
        assert gap.lower_s <= 2.0 <= gap.upper_s


def world():
    return World((VLLM, OLLAMA, OPENAI), (), random.Random(1))


def test_one_flapping_answer_does_not_end_a_gap(tmp_path):
    made = make(tmp_path, [Hole("freeze", "vllm", 20, 40, hole_s=6.0)], duration_s=80)
    # one good answer of each lane in the middle of the hole
    flaps = [answer(world().new(23.1 + i / 10, lane), "ollama", 0.05) for i, lane in enumerate(LANES)]
    again = make(tmp_path, made.steps, duration_s=80, extra=flaps, name="flapping")
    run = seen(again)
    gap = outages.failover_gap(run.frames.asks, the(run), run.lost_at(the(run)), Lane.PROBE_NEW)
    assert gap.lower_s <= 6.0 <= gap.upper_s


def test_an_ask_sent_before_the_mend_that_lands_after_it_is_no_recovery(tmp_path):
    hole = Hole("freeze", "vllm", 20, 20, sticky_s=9.0)
    early = [answer(world().new(hole.back - 1 + i / 10, Lane.LOAD), "vllm", 1.5) for i in range(4)]
    run = seen(make(tmp_path, [hole], duration_s=80, extra=early))
    back = outages.recovery(run.frames.asks, the(run), run.trials, run.frames.tiers)
    assert back.s == pytest.approx(9.0 + VLLM.ttft_s, abs=0.3)


def test_two_answers_and_another_tier_between_are_no_recovery(tmp_path):
    hole = Hole("freeze", "vllm", 20, 20, sticky_s=9.0)
    flaps = [answer(world().new(hole.back + 2 + i / 100, Lane.LOAD), "vllm", 0.08) for i in range(2)]
    run = seen(make(tmp_path, [hole], duration_s=80, extra=flaps))
    assert outages.recovery(run.frames.asks, the(run), run.trials, run.frames.tiers).s > 8.9


def test_a_recovery_that_outlasts_the_run_is_censored(tmp_path):
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 20, sticky_s=500)], duration_s=80))
    back = outages.recovery(run.frames.asks, the(run), run.trials, run.frames.tiers)
    assert back.censored
    assert back.s == pytest.approx(80 - 42, abs=2.5)


def test_a_lower_tier_that_returns_under_a_serving_one_is_not_seen(tmp_path):
    run = seen(make(tmp_path, [Hole("freeze", "ollama", 20, 20)], duration_s=60))
    assert outages.recovery(run.frames.asks, the(run), run.trials, run.frames.tiers) is None


def test_a_lower_tier_that_returns_while_the_higher_one_is_gone_is_seen(tmp_path):
    run = seen(three_tier(tmp_path))
    back = outages.recovery(run.frames.asks, the(run, "cpu-tier-too"), run.trials, run.frames.tiers)
    assert back.s == pytest.approx(OLLAMA.ttft_s, abs=0.3)


def test_without_a_fallback_failover_is_censored_by_the_mend(tmp_path):
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


def test_unavailability_is_the_union_of_both_lanes(tmp_path):
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 40, hole_s=7.3)], duration_s=80))
    assert availability.down(run.frames.asks, START, START + 80).s == pytest.approx(7.3, abs=0.25)
    assert availability.down(run.frames.asks.iloc[:0], START, START + 80) is None


def test_failed_asks_before_the_fault_are_not_its_doing(tmp_path):
    earlier = [refuse(world().new(19.0, Lane.LOAD), Outcome.REJECTED, 500)]
    run = seen(make(tmp_path, [Hole("freeze", "vllm", 20, 20)], duration_s=60, extra=earlier))
    assert run.lost_at(the(run)) >= START + 20


def test_a_slot_that_found_no_place_is_answered_by_the_ask_that_covers_it(tmp_path):
    # The probe's place waits from before the fault; the health check shows the loss at 20.5; nothing is asked until 26.
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

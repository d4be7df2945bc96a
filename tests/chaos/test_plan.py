"""The plan and the probe: pure, so tested with tables and no clock."""

import pytest

from chaos import plan
from chaos.probe.pace import FAST_S, SLOW_S, Pace
from contract import timeline, topology
from contract.blast_radius import Handles
from contract.refusal import Refusal
from tests.chaos.stand import ROOT

THREE_TIER = ROOT / "chaos/timelines/three_tier.yaml"
EMBEDDED = ROOT / "topologies/embedded.yaml"


def bound(tmp_path, old: str = "", new: str = ""):
    path = tmp_path / "t.yaml"
    path.write_text(THREE_TIER.read_text().replace(old, new))
    return timeline.read(path), plan.bind(timeline.read(path), topology.read(EMBEDDED), "t.yaml")


def test_moves_come_in_the_order_of_their_times(tmp_path):
    _, steps = bound(tmp_path)
    assert [(m.at_s, m.move, m.bound.step.name) for m in plan.moves(steps)] == [
        (40, "inject", "gaming-mode"),
        (90, "inject", "cpu-tier-too"),
        (130, "restore", "cpu-tier-too"),
        (170, "restore", "gaming-mode"),
    ]


@pytest.mark.parametrize(
    ("duration_s", "count"), [(None, 1), (10, 1), (215, 1), (429, 1), (430, 2), (86400, 401)]
)
def test_a_timeline_runs_as_often_as_fits_and_at_least_once(tmp_path, duration_s, count):
    lines, _ = bound(tmp_path)
    assert plan.rounds(lines, duration_s) == count


@pytest.mark.parametrize(
    ("given", "duration_s", "count"),
    [
        ("", None, 1),
        ("trials: 9\n", None, 9),
        ("trials: 9\n", 430, 2),  # the command line takes precedence
        ("phase: 30s\n", 430, 1),  # two rounds would fit, but not with the longest delay before each
        ("trials: 3\nphase: 30s\n", None, 3),
    ],
)
def test_a_timeline_runs_as_many_times_as_it_has_trials(tmp_path, given, duration_s, count):
    lines, _ = bound(tmp_path, "baseline: 40s", given + "baseline: 40s")
    assert plan.rounds(lines, duration_s) == count


def test_rounds_begin_after_random_delays_that_a_seed_repeats(tmp_path):
    lines, steps = bound(tmp_path, "baseline: 40s", "trials: 9\nphase: 10s\nbaseline: 40s")
    later_s = plan.pauses(lines, 9, seed=1)
    assert later_s == plan.pauses(lines, 9, seed=1) != plan.pauses(lines, 9, seed=2)
    assert later_s[:4] == plan.pauses(lines, 4, seed=1)
    assert all(0 <= s <= 10 for s in later_s)
    assert max(later_s) - min(later_s) > 3
    assert plan.total_s(lines, later_s) == pytest.approx(9 * 215 + sum(later_s))
    described = plan.describe(lines, steps, later_s, 900.0)
    assert "9 rounds of 3m35s" in described
    assert f"a random delay of up to 10s before each round: {later_s[0]:.1f}s, " in described


def test_without_a_phase_no_round_begins_later(tmp_path):
    lines, _ = bound(tmp_path)
    assert plan.pauses(lines, 3, seed=1) == [0, 0, 0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("scale_to_zero, target: vllm", "scale_to_zer, target: vllm",
         "t.yaml: step 'gaming-mode': no fault 'scale_to_zer'; did you mean 'scale_to_zero'?"),
        ("target: ollama", "target: olama", "step 'cpu-tier-too': no tier 'olama'; did you mean 'ollama'?"),
        ("target: ollama", "target: openai", "the topology lists none among the handles of 'openai'"),
    ],
)  # fmt: skip
def test_a_step_that_cannot_be_bound_is_refused(tmp_path, old, new, words):
    with pytest.raises(Refusal) as e:
        bound(tmp_path, old, new)
    assert words in str(e.value)


def test_the_plan_is_readable(tmp_path):
    lines, steps = bound(tmp_path)
    described = plan.describe(lines, steps, [0.0], 900.0)
    assert described.splitlines()[0].startswith("1 round of 3m35s")
    assert "random delay" not in described
    assert "1m30s  inject   cpu-tier-too" in described


@pytest.mark.parametrize(
    ("max_", "words"),
    [
        ("30m", "  a restore may take up to 15m"),
        ("5m", "  a restore may take up to 15m; the run is aborted after 2m10s (max)"),
    ],
)
def test_a_plan_shows_how_long_a_restore_may_take(tmp_path, max_, words):
    lines, steps = bound(tmp_path, "max: 19m", f"max: {max_}")
    assert words in plan.describe(lines, steps, [0.0], lines.restore_within).splitlines()


def test_the_probe_is_slow_until_five_seconds_before_a_move():
    pace = Pace([100.0])
    assert [pace.interval_s(t) for t in (0.0, 94.9, 95.0, 100.1)] == [SLOW_S, SLOW_S, FAST_S, FAST_S]


def test_the_probe_is_fast_until_ten_answers_in_a_row_came_from_one_rank():
    pace = Pace([])
    pace.move_began()
    for _ in range(20):  # the move is not verified yet: these do not count
        pace.answered(0, 0.1)
    assert pace.interval_s(0) == FAST_S
    pace.move_ended()
    for rank in [0] * 9 + [1] * 9:
        pace.answered(rank, 0.1)
    assert pace.interval_s(0) == FAST_S
    pace.answered(1, 0.1)
    assert pace.interval_s(0) == SLOW_S


def test_a_failure_breaks_the_row():
    pace = Pace([])
    pace.move_began()
    pace.move_ended()
    for rank in [1] * 9 + [None] + [1] * 9:
        pace.answered(rank, 0.1)
    assert pace.interval_s(0) == FAST_S


def test_the_probe_takes_at_most_a_tenth_of_a_slow_tier():
    pace = Pace([])
    for _ in range(5):
        pace.answered(1, 0.6)
    assert pace.interval_s(0) == pytest.approx(6.0)
    pace.answered(0, 0.1)  # another tier: the latency of the slow one no longer counts
    assert pace.interval_s(0) == SLOW_S


ON_HOST = """
gateway: {url: "http://127.0.0.1:4000", model: m, handles: {unit: litellm.service, unprotected: true}}
tiers: [{name: vllm, match: {group: m}}]
"""


def test_the_gateway_is_a_target_as_any_tier_is(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(
        THREE_TIER.read_text().split("steps:")[0]
        + "steps: [{name: restart, at: 40s, for: 60s, fault: unit_restart, target: gateway}]\n"
    )
    (tmp_path / "o.yaml").write_text(ON_HOST)
    lines, stack = timeline.read(path), topology.read(tmp_path / "o.yaml")
    (bound,) = plan.bind(lines, stack, "t.yaml")
    assert (bound.target, str(bound.handle), bound.unprotected) == (
        "gateway",
        "unit here/system/litellm.service",
        True,
    )
    assert "restart           gateway     unit_restart unit here/system/litellm.service" in plan.describe(
        lines, [bound], [0.0], 900.0
    )
    with pytest.raises(Refusal, match="the topology lists none among the handles of 'gateway'"):
        plan.bind(
            lines,
            stack.model_copy(update={"gateway": stack.gateway.model_copy(update={"handles": Handles()})}),
            "t",
        )


@pytest.mark.parametrize(
    ("handles", "words"),
    [
        ("{deployment: ml/litellm}", "cluster is missing"),
        (
            "{process: embedded}",
            "'gateway': handles: 'embedded' needs an `embedded:` section in this topology",
        ),
        (
            "{process: 5}",
            "gateway: handles: process: 5 is not a process; write pidfile: PATH below it, or in an embedded topology",
        ),
        (
            "{engine: 1}",
            "gateway: handles: engine: 1 is not an address; write one like http://host:port, true for the tier's own url",
        ),
        (
            "{engine: ftp://h}",
            "gateway: handles: engine: 'ftp://h' is not a url; write it like http://host:port",
        ),
        ("{engine: 'http://127.0.0.1:1'}", "engine is for tiers: a gateway has no switch for faults"),
    ],
)
def test_the_gateways_handles_are_checked_as_a_tiers_are(tmp_path, handles, words):
    (tmp_path / "o.yaml").write_text(ON_HOST.replace("{unit: litellm.service, unprotected: true}", handles))
    with pytest.raises(Refusal, match=words):
        topology.read(tmp_path / "o.yaml")

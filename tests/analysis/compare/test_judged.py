"""The result of a comparison: only a metric that is worse beyond its tolerance fails the gate."""

import pytest

from analysis.compare import judged, tolerance
from analysis.compare.judged import Judged
from contract.refusal import Refusal
from tests.analysis.compare.sides import latencies, share, side, trials

CALM = (0.41, 0.52, 0.38, 0.61, 0.47, 0.55, 0.44)


def judge(a, b, tolerances=""):
    return judged.judge(a, b, tolerance.parse(tolerances))


def test_50_ms_more_are_worse_and_50_ms_less_are_better():
    slow, fast = side("slow", *latencies(2, more_ms=50)), side("fast", *latencies(1))
    worse, better = judge(fast, slow)[0], judge(slow, fast)[0]
    assert (worse.judged, better.judged) == (Judged.WORSE, Judged.BETTER)
    assert worse.found.value == pytest.approx(50, abs=12)
    assert judged.exit_code([[worse]]) == 1
    assert judged.exit_code([[better]]) == 0


def test_a_difference_within_the_tolerance_is_shown_and_does_not_fail_the_gate():
    rows = judge(side("a", *latencies(1)), side("b", *latencies(2, more_ms=50)), "latency=200ms")
    assert rows[0].judged is Judged.SLIGHTLY_WORSE
    assert rows[0].why == "within the tolerance"
    assert judged.exit_code([rows]) == 0


@pytest.mark.verify
def test_of_200_pairs_of_the_same_truth_hardly_any_is_worse():
    """Even with nothing tolerated at most one in twenty; with the usual tolerance none."""
    worse_at_all = worse = seen = 0
    for seed in range(200):
        a, b = side("a", *latencies(seed)), side("b", *latencies(7000 + seed))
        worse_at_all += judged.exit_code([judge(a, b, "0%")]) == 1
        rows = judge(a, b)
        worse += judged.exit_code([rows]) == 1
        seen += any(r.judged in (Judged.WORSE, Judged.SLIGHTLY_WORSE, Judged.BETTER) for r in rows)
    assert worse == 0
    assert worse_at_all <= 12
    assert seen <= 20


def test_a_run_and_itself():
    one = side("a", *latencies(5, blocks=10), trials(CALM), share(990, 1000))
    rows = judge(one, one)
    assert {r.judged for r in rows} <= {Judged.NO_DIFFERENCE, Judged.CANNOT_TELL}
    assert all(r.found.value == 0 for r in rows if r.found)
    assert rows[0].judged is Judged.NO_DIFFERENCE
    assert judged.exit_code([rows]) == 0


def test_no_difference_shows_the_difference_that_would_have_been_found():
    row = judge(side("a", *latencies(1)), side("b", *latencies(2)))[0]
    assert row.judged is Judged.NO_DIFFERENCE
    assert 5 < row.would_have_seen < 60


@pytest.mark.parametrize(
    ("n", "words"), [(1, "needs 4 trials in each run; A has 1, B 1"), (3, "A has 3, B 3")]
)
def test_too_few_trials_report_how_many_are_needed(n, words):
    (row,) = judge(side("a", trials(CALM[:n])), side("b", trials([9.0] * n)))
    assert row.judged is Judged.CANNOT_TELL
    assert words in row.why
    assert judged.exit_code([[row]]) == 5


def test_a_failover_that_takes_five_seconds_longer():
    a, b = side("a", trials(CALM)), side("b", trials([x + 5 for x in CALM]))
    (row,) = judge(a, b, "failover=0.5s")
    assert row.judged is Judged.WORSE
    assert row.found.value == pytest.approx(5)
    (row,) = judge(a, b, "failover=6s")
    assert row.judged is Judged.SLIGHTLY_WORSE


def test_more_is_better_of_proportions():
    (row,) = judge(side("a", share(900, 1000)), side("b", share(990, 1000)))
    assert row.judged is Judged.BETTER
    (row,) = judge(side("a", share(990, 1000)), side("b", share(900, 1000)))
    assert row.judged is Judged.WORSE


def test_a_metric_of_only_one_run_is_reported_as_such():
    rows = judge(side("a", trials(CALM)), side("b", share(9, 10)))
    assert [(r.judged, r.why) for r in rows] == [
        (Judged.CANNOT_TELL, "only A has it"), (Judged.CANNOT_TELL, "only B has it")
    ]  # fmt: skip


def test_doubtful_misses_of_an_overloaded_client_are_cannot_tell():
    (row,) = judge(side("a", share(990, 1000)), side("b", share(900, 1000, doubtful=90)))
    assert row.judged is Judged.CANNOT_TELL
    assert "overloaded" in row.why


def test_the_worst_of_several_comparisons_decides_the_exit_code():
    good = judge(side("a", trials(CALM)), side("b", trials(CALM)), "failover=1s")
    bad = judge(side("a", trials(CALM)), side("b", trials([x + 5 for x in CALM])))
    unknown = judge(side("a", trials(CALM[:1])), side("b", trials(CALM[:1])))
    assert judged.exit_code([good]) == 0
    assert judged.exit_code([good, bad, unknown]) == 1
    assert judged.exit_code([good, unknown]) == 5


def test_tolerances_by_metric():
    found = tolerance.parse("5%, failover=0.5s, ttft=20%, continuity=2pp, gap=1s, latency=50ms")
    assert found["tpot"].of(200) == 10
    assert found["failover"].of(200) == 0.5
    assert found["ttft"].of(200) == 40
    assert found["latency"].of(200) == 50
    assert found["gap_kept"].of(3) == found["gap_new"].of(3) == 1
    assert found["continuity"].of(0.99) == 0.02
    assert tolerance.parse("")["goodput"].of(0.99) == 0.01


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ten", "not a percentage"), ("failovr=1s", "did you mean 'failover'"), ("failover=5", "not a duration"),
        ("continuity=10%", "percentage points"), ("-3%", "not a number from 0 on"), ("nan%", "not a number"),
    ],
)  # fmt: skip
def test_wrong_tolerances_are_refused(text, words):
    with pytest.raises(Refusal, match=words):
        tolerance.parse(text)

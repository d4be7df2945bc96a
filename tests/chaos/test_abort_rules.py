"""When a run is aborted: pure, so tested with tables and no clock."""

import pytest

from chaos.abort_rules import AbortGuard, too_many_cloud_answers
from contract import timeline
from contract.refusal import Refusal
from contract.timeline import AbortWhen
from tests.chaos.stand import ROOT

THREE_TIER = ROOT / "chaos/timelines/three_tier.yaml"


def rule(**given) -> AbortWhen:
    return AbortWhen(**{"over": "10s", "at_least": 4, **given})


@pytest.mark.parametrize(
    ("good", "bad", "aborts"), [(4, 0, False), (3, 1, False), (2, 2, True), (0, 4, True), (0, 3, False), (0, 0, False)]
)  # fmt: skip
def test_a_share_of_failures_aborts_at_the_limit_and_never_on_too_few_requests(good, bad, aborts):
    guard = AbortGuard(rule(failures=0.5))
    for fine in [True] * good + [False] * bad:
        guard.answered(100.0, fine, 50.0)
    assert bool(guard.why(101.0, [])) is aborts


@pytest.mark.parametrize(
    ("used", "most", "rounds", "reason"),
    [
        (400, 400, 0, None),
        (401, 400, 1, "guard: 401 answers of a cloud tier, max_cloud_answers is 400"),
        (401, 400, 2, None),  # a soak of a day has many rounds, each of which needs the cloud
        (801, 400, 2, "guard: 801 answers of a cloud tier, max_cloud_answers is 400 per round, and this is round 2"),
        (1, 0, 24, "guard: 1 answers of a cloud tier, max_cloud_answers is 0 per round, and this is round 24"),
        (9000, None, 1, None),
    ],
)  # fmt: skip
def test_each_round_may_use_so_many_answers_of_a_cloud(used, most, rounds, reason):
    assert too_many_cloud_answers(used, most, rounds) == reason


def test_what_is_older_than_the_window_is_forgotten():
    guard = AbortGuard(rule(failures=0.5))
    for _ in range(6):
        guard.answered(100.0, False, None)
    assert guard.why(109.0, [])
    assert guard.why(111.0, []) is None


def test_users_count_by_the_difference_of_the_load_generators_counts():
    guard = AbortGuard(rule(failures=0.5))
    for second, good, bad in [(0, 0, 0), (10, 100, 0), (20, 200, 0), (25, 201, 9)]:
        guard.counted(second, good, bad)
    assert guard.why(25.0, []) is None  # 101 good, 9 bad since 15 s
    guard.counted(31.0, 202, 20)
    assert guard.why(31.0, []) == "20 of 22 answers failed within 10 s; abort_when allows 0.5"


def test_a_probe_that_waits_counts_with_the_time_it_has_waited():
    guard = AbortGuard(rule(ttft_ms=1000))
    for at in (100.0, 101.0):
        guard.answered(at, True, 20.0)
    assert guard.why(102.0, [1500.0]) is None  # too few
    assert guard.why(102.0, [1500.0, 2500.0]) is None  # the median lies between
    words = guard.why(103.0, [3500.0, 3500.0, 3500.0])
    assert words == "the median time to the first token within 10 s is 3500 ms; abort_when allows 1000 ms"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{over: 30s}", "give failures, ttft_ms or both"),
        ("{over: 30, failures: 0.5}", "abort_when: over:"),
        ("{over: 30s, failures: 2}", "less than or equal to 1"),
        ("{over: 30s, failurs: 0.5}", "no key 'failurs'; did you mean 'failures'?"),
    ],
)
def test_an_invalid_abort_when_is_refused(tmp_path, given, words):
    path = tmp_path / "t.yaml"
    path.write_text(THREE_TIER.read_text() + f"abort_when: {given}\n")
    with pytest.raises(Refusal) as e:
        timeline.read(path)
    assert words in str(e.value)

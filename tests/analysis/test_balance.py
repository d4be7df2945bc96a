"""A group of deployments behind one gateway: the known shares are found, and peers are not fallbacks."""

import pytest

from analysis import frames, judge
from analysis.checkers import balance as checker
from analysis.evidence import Evidence
from analysis.judging import balance
from analysis.judging.balance import jain
from analysis.judging.expectation import bind
from analysis.judging.finding import Status
from analysis.metrics import outages, target_loss
from contract import timeline, topology
from contract.records import Lane
from contract.refusal import Refusal
from tests.synthetic import make
from tests.synthetic_world import OLLAMA, START, Engine, Hole, answer

GONE = Hole("one-gone", "b", at=60, length=60, restore_s=4, sticky_s=6)


def three(*weights):
    drawn = weights or (1.0, 1.0, 1.0)
    return (*(Engine(n, 0.08, 0.02, group="g", weight=w) for n, w in zip("abc", drawn, strict=True)), OLLAMA)


def run_of(tmp_path, steps=(), *weights, **more):
    made = make(tmp_path, steps, **({"engines": three(*weights), "pairs": 0, "duration_s": 200} | more))
    return Evidence(frames.read(made.path))


def found(run, **params):
    return checker.check(checker.Params(**({"group": "g", "max_deviation": 0.1} | params)), run)


def test_even_shares_are_even_and_a_dead_ones_go_to_the_others(tmp_path):
    run = run_of(tmp_path, [GONE])
    calm, before, gone, returned = balance.spreads(run, ["a", "b", "c"])
    assert [s.phase for s in (before, gone, returned)] == ["before any fault", "one-gone: in effect", "one-gone: returned"]  # fmt: skip
    for spread in (calm, before, returned):
        assert all(s.low < 1 / 3 < s.high for s in spread.shares)
        assert spread.jain > 0.99
    assert [s.expected for s in gone.shares] == [0.5, 0.0, 0.5]
    assert gone.shares[1].answers == 0
    assert all(s.low < 0.5 < s.high for s in (gone.shares[0], gone.shares[2]))
    # The calm time has two parts; while the tier was gone or had not returned, nothing counts as calm.
    assert calm.n == before.n + returned.n
    assert found(run).status is Status.PASS


def test_stated_shares_are_found_and_even_ones_are_not(tmp_path):
    run = run_of(tmp_path, [GONE], 0.5, 0.3, 0.2)
    stated = {"a": 0.5, "b": 0.3, "c": 0.2}
    assert found(run, shares=stated).status is Status.PASS
    assert found(run).status is Status.FAIL
    gone = balance.spreads(run, ["a", "b", "c"], stated)[2]
    assert [s.expected for s in gone.shares] == [pytest.approx(5 / 7), 0.0, pytest.approx(2 / 7)]


def test_few_answers_prove_no_share(tmp_path):
    few = run_of(tmp_path, [GONE], rate=0.1, probe_rate=0.1)
    assert found(few).status is Status.UNKNOWN
    none = run_of(tmp_path / "none", [GONE], rate=0, probe_rate=0)
    assert found(none).status is Status.UNKNOWN


def test_fairness_is_jains():
    assert jain([4, 4, 4]) == 1.0
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert jain([0, 0]) is None


def test_an_answer_by_a_peer_is_no_fallback_and_no_loss(tmp_path):
    run = run_of(tmp_path, [GONE])
    assert run.lower.empty
    trial = run.trials[0]
    whole = run.around(trial)[run.around(trial)["outcome"] != "cut"]
    seen = target_loss.lost(whole, run.frames.samples["health"], trial, run.trials, run.frames.ranks)
    assert seen.evidence == "its health check failed"
    blind = target_loss.lost(whole, run.frames.samples["health"][:0], trial, run.trials, run.frames.ranks)
    assert blind is None, "an answer by a peer shows nothing"
    for lane in (Lane.PROBE_NEW, Lane.PROBE_KEPT):
        assert (
            outages.failover_gap(run.around(trial), trial, run.lost_at(trial), lane, run.frames.ranks) is None
        )


def test_a_tier_is_back_when_it_has_its_turns_again(tmp_path):
    run = run_of(tmp_path, [GONE])
    back = outages.recovery(run.frames.requests, run.trials[0], run.trials, run.frames.ranks)
    assert not back.censored
    assert (
        6 <= back.s < 9
    )  # the gateway avoids it for six seconds; of its first three turns the first is soon


def test_a_request_handed_down_while_peers_serve_is_reported(tmp_path):
    base = run_of(tmp_path, [GONE])
    record = next(a for a in make(tmp_path / "spare", [GONE], engines=three(), pairs=0, duration_s=200).requests
               if a.sent_at > START + 80 and a.lane == Lane.LOAD)  # fmt: skip
    answer(record, "ollama", 0.3)
    record.request_id = "req-handed-down"
    expect = {"handed_down": {"max": 0}, "balance": {"group": "g", "max_deviation": 0.1}}
    assert base.lower.empty
    run = run_of(tmp_path / "again", [GONE], extra=[record], expect=expect)
    verdict = judge.judge(run)
    down = next(f for f in verdict.findings if f.name == "handed_down")
    assert down.status is Status.FAIL
    assert "req-handed-down by ollama" in down.evidence


WRONG = [
    ({"group": "h"}, "no group of several deployments 'h'"),
    ({"group": "g", "shares": {"a": 0.5, "b": 0.5}}, "give one for each deployment of the group: a, b, c"),
    ({"group": "g", "shares": {"a": 0.5, "b": 0.5, "c": 0.5}}, "the sum is 1.5; it must be 1"),
]


@pytest.mark.parametrize(("given", "words"), WRONG)
def test_what_does_not_fit_the_topology_is_refused(tmp_path, given, words):
    made = make(
        tmp_path, engines=three(), expect={"balance": {"max_deviation": 0.1} | given}, duration_s=9, pairs=0
    )
    inputs = timeline.read(made.path / "timeline.yaml"), topology.read(made.path / "topology.yaml")
    with pytest.raises(Refusal, match=words):
        bind(*inputs, "timeline.yaml", {"balance": checker})

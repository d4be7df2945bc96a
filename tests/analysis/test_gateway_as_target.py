"""A fault on the gateway itself: no tier is lost, and failures are separated from those that a retry would have saved."""

import pandas as pd
import pytest

from analysis import frames
from analysis.checkers import catalogue
from analysis.evidence import Evidence
from analysis.judging.expectation import bind
from analysis.judging.reconciliation import rows
from analysis.metrics import client_retries, outages
from analysis.metrics.attribution import Why
from analysis.metrics.client_retries import Fate
from analysis.metrics.windows import Trial
from contract import timeline
from contract.records import GATEWAY, Lane, Outcome
from contract.refusal import Refusal
from tests.synthetic import make
from tests.synthetic_world import START, Hole

RESTART = Hole("restart", GATEWAY, at=30, length=40, hole_s=8.0, fault="unit_restart")
KILLED = Hole("restart", GATEWAY, at=30, length=40, hole_s=8.0, fault="unit_kill")
STREAMS = 25  # requests per second, so that some are under way when it goes


def seen(folder, *holes, **more):
    made = make(folder, holes, duration_s=100, **{"rate": STREAMS, **more})
    return Evidence(frames.read(made.path))


def judged(run, **params):
    module = catalogue()["retried"]
    return module.check(module.Params.model_validate(params), run)


@pytest.fixture(scope="module")
def drained(tmp_path_factory):
    return seen(tmp_path_factory.mktemp("drained"), RESTART)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    return seen(tmp_path_factory.mktemp("killed"), KILLED)


def test_it_is_lost_with_the_first_failed_request_through_it(drained):
    (trial,) = drained.trials
    assert drained.lost_at(trial) == pytest.approx(START + RESTART.lost, abs=0.25)
    assert "through it was refused" in drained.loss(trial)


def test_a_stream_that_was_cut_before_the_first_refusal_shows_it_though_it_soon_serves_again(killed):
    (trial,) = killed.trials
    assert killed.lost_at(trial) == pytest.approx(START + KILLED.lost, abs=1e-6)
    assert "sent by it, was cut" in killed.loss(trial)


def test_its_gap_and_its_return_are_those_of_all_tiers_together(drained):
    (trial,) = drained.trials
    requests, lost_at = drained.around(trial), drained.lost_at(trial)
    for lane in (Lane.PROBE_NEW, Lane.PROBE_KEPT):
        gap = outages.failover_gap(requests, trial, lost_at, lane, drained.frames.ranks)
        assert gap.lower_s <= RESTART.hole_s <= gap.upper_s
    assert outages.was_in_use(requests, trial, drained.frames.ranks)
    took, doubt = drained.recovery(trial, 10)
    assert (took.censored, doubt) == (False, None)
    assert took.s < 1


def test_it_takes_no_tier_away(tmp_path):
    """A lower tier that answers while the gateway is the target is as spurious as at any other time."""
    run = seen(tmp_path, RESTART)
    assert run.lower.empty
    gone = Hole("gpu", "vllm", at=30, length=40, hole_s=1.0)
    run = seen(tmp_path, RESTART, gone, name="both")
    assert set(run.lower["why"]) <= {Why.NEEDED, Why.STICKY, Why.UNKNOWN}


def test_what_it_counted_before_it_was_restarted_is_not_set_against_ours(drained):
    found = {row.why for row in rows(drained) if row.source == GATEWAY}
    assert found  # without counters: nothing was read; with some it would be "restart stopped it"


def test_drained_and_retried_no_request_is_lost(drained):
    found = judged(drained, step="restart", within="30s")
    assert found.status == "pass"
    refused = int((drained.frames.gateway(["outcome"])["outcome"] == Outcome.REFUSED).sum())
    assert refused > 100
    assert found.measured == f"0 lost (0 cut or stalled), {refused} saved by a retry"
    assert f"{refused} refused saved" in found.evidence
    assert "under way when it went" in found.evidence


def test_a_client_that_gives_up_before_it_is_back_loses_its_requests(drained):
    found = judged(drained, within="3s")
    assert found.status == "fail"
    assert 0 < found.value < int((drained.frames.gateway(["outcome"])["outcome"] == Outcome.REFUSED).sum())


def test_killed_in_mid_stream_its_open_answers_are_lost(killed):
    found = judged(killed, step="restart", within="30s")
    cut = int((killed.frames.gateway(["outcome"])["outcome"] == Outcome.CUT).sum())
    assert cut >= 2
    assert (found.status, found.value) == ("fail", cut)
    assert found.measured.startswith(f"{cut} lost ({cut} cut or stalled), ")
    assert judged(killed, within="30s", max_lost=cut).status == "pass"


def test_without_a_request_under_way_or_without_a_fault_nothing_is_known(tmp_path):
    quiet = seen(tmp_path, RESTART, rate=0, probe_rate=0.4, pairs=0, name="quiet")
    found = judged(quiet, within="30s")
    assert (found.status, "no request was under way" in found.evidence) == ("unknown", True)
    never = seen(tmp_path, name="never", rate=1, expect={})
    assert judged(never, within="30s").status == "unknown"


TRIAL = Trial("restart", 1, "unit_restart", GATEWAY, 9.9, 10.0, 11.0, 59.0, 60.0, 61.0, "timeline", 100.0)
# sent, took, outcome, status, touched → its fate, where a good request was sent at 30 and the run ended at 100
CASES = [
    (12.0, 0.1, Outcome.REFUSED, None, False, Fate.SAVED),
    (12.0, 0.1, Outcome.REJECTED, 503, False, Fate.SAVED),
    (12.0, 0.1, Outcome.REJECTED, 429, False, Fate.SAVED),
    (12.0, 0.1, Outcome.REJECTED, 400, False, Fate.LOST),  # no client retries that
    (12.0, 0.1, Outcome.BROKEN, 200, False, Fate.SAVED),
    (12.0, 0.1, Outcome.TIMEOUT, None, False, Fate.SAVED),
    (9.0, 3.0, Outcome.CUT, 200, False, Fate.LOST),  # under way when it went
    (9.0, 3.0, Outcome.STALLED, 200, False, Fate.LOST),
    (9.0, 3.0, Outcome.STALLED, 200, True, Fate.UNKNOWN),
    (5.0, 24.0, Outcome.TIMEOUT, None, False, Fate.LOST),  # failed later than the client's retries
    (31.0, 0.1, Outcome.REFUSED, None, False, Fate.LOST),  # retried at 32, without a good answer
    (45.0, 0.1, Outcome.REFUSED, None, False, Fate.UNKNOWN),  # no request for 20 s after it
    (90.0, 0.1, Outcome.REFUSED, None, False, None),  # after the verified restore: not this fault's doing
    (5.0, 1.0, Outcome.CUT, 200, False, None),  # before it
    (12.0, 0.1, Outcome.ABANDONED, None, False, None),
    (12.0, 0.1, Outcome.OK, 200, False, None),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_fate_of_a_failed_request(case):
    sent_at, took_s, outcome, status, touched, fate = case
    table = [
        ("this", sent_at, took_s, outcome, status, touched),
        ("good", 30.0, 0.1, Outcome.OK, 200, False),
        ("bad", 32.0, 0.1, Outcome.REJECTED, 400, False),
    ]
    requests = pd.DataFrame(
        [
            {"request_id": i, "via": GATEWAY, "sent_at": at, "ended_at": at + s, "outcome": o, "status": c,
             "good": o is Outcome.OK, "touched": t}
            for i, at, s, o, c, t in sorted(table, key=lambda r: r[1])
        ]
    ).astype({"status": "Int16"})  # fmt: skip
    found = client_retries.fates(requests, TRIAL, 20.0, 100.0).set_index("request_id")["fate"]
    assert found.get("this") == fate


def test_a_run_that_ended_first_proves_nothing_about_retries():
    requests = pd.DataFrame(
        {"request_id": ["a", "b"], "via": GATEWAY, "sent_at": [50.0, 51.0], "ended_at": [50.1, 51.1],
         "outcome": Outcome.REFUSED, "status": pd.array([None, None], "Int16"), "good": False, "touched": False}
    )  # fmt: skip
    assert list(client_retries.fates(requests, TRIAL, 20.0, 60.0)["fate"]) == [Fate.UNKNOWN, Fate.UNKNOWN]
    assert list(client_retries.fates(requests, TRIAL, 5.0, 60.0)["fate"]) == [Fate.LOST, Fate.UNKNOWN]


def test_no_tier_takes_over_from_the_gateway_and_such_an_expectation_is_corrected(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(
        "hypothesis: h\nbaseline: 1s\nsettle: 1s\nmax: 5m\n"
        "steps: [{name: restart, at: 2s, for: 9s, fault: unit_restart, target: gateway}]\n"
        "expect: {failover: {step: restart, to: ollama, max_s: 5}}\n"
    )
    with pytest.raises(Refusal, match=r"is the gateway, and no tier takes over .* use failover_gap"):
        bind(timeline.read(path), None, "t.yaml", catalogue())

"""Whether the fallback is as accurate on documents: a run each for pass, fail and unknown."""

from dataclasses import replace

import pytest

from analysis import frames, judge
from analysis.checkers import degraded
from analysis.evidence import Evidence
from analysis.judging.finding import Status
from contract.records import Outcome
from tests.synthetic import make
from tests.synthetic_documents import classify
from tests.synthetic_world import START, Hole

GONE = Hole("gaming-mode", "vllm", at=60, length=90, hole_s=0.6, restore_s=3, sticky_s=15)
EXPECT = {"degraded": {"id": "NFR67", "step": "gaming-mode", "to": "ollama", "max_drop": 0.15}}
PARAMS = degraded.Params(id="NFR67", step="gaming-mode", to="ollama", max_drop=0.15)


def read(path, requests, steps=(GONE,), **more):
    made = make(path, steps, rate=0.5, pairs=0, duration_s=180, extra=requests, expect=EXPECT, **more)
    return Evidence(frames.read(made.path))


def judged(path, vllm, ollama, documents=60, steps=(GONE,), **more):
    requests = classify(
        steps, {"vllm": vllm, "ollama": ollama, "openai": 1.0}, documents, duration_s=180, **more
    )
    return degraded.check(PARAMS, read(path, requests, steps))


def test_a_fallback_that_is_as_right_passes(tmp_path):
    found = judged(tmp_path, 0.95, 0.95)
    assert found.status is Status.PASS
    assert found.target == "ollama classifies documents at most 15 points worse than vllm"
    assert (found.value, found.unit, found.n) == (0, "points", 60)
    assert found.measured == "+0.0 points [−9.6, +9.6] over 60 documents"
    assert found.evidence == (
        "vllm has 57 of 60 documents right, ollama 57 of 60 while vllm was away; "
        "of the 60 that both answered, 3 are right by vllm alone, 3 by ollama alone"
    )


def test_one_that_is_truly_worse_by_more_than_the_margin_fails(tmp_path):
    found = judged(tmp_path, 0.95, 0.6)
    assert found.status is Status.FAIL
    assert found.value == pytest.approx(-35)
    assert found.interval[0] < -35 < found.interval[1] < -15


def test_few_documents_decide_nothing_and_the_needed_number_is_reported(tmp_path):
    found = judged(tmp_path, 1.0, 1.0, documents=8)
    assert found.status is Status.UNKNOWN
    assert found.measured == "+0.0 points [−32.4, +32.4] over 8 documents"
    assert found.evidence.endswith("too few documents: about 22 would decide it at the same rates")


def test_answers_that_a_client_cannot_use_are_wrong_ones(tmp_path):
    found = judged(tmp_path, 0.95, 0.6, invalid={"ollama": 0.4})
    assert found.status is Status.FAIL
    assert found.value == pytest.approx(-35)


def test_a_difference_at_the_limit_is_unknown(tmp_path):
    found = judged(tmp_path, 1.0, 0.85)
    assert found.status is Status.UNKNOWN
    assert "the difference is at the limit" in found.evidence


def test_only_what_the_fallback_answered_while_the_step_held_counts(tmp_path):
    """It still answers for a while after the restore, and all of these answers are right."""
    requests = classify([GONE], {"vllm": 1.0, "ollama": 0.5}, documents=300, duration_s=180)
    back = START + GONE.back
    requests = [replace(a, wrong=[]) if a.tier == "ollama" and a.sent_at >= back else a for a in requests]
    during = {
        a.document for a in requests if a.tier == "ollama" and GONE.lost <= a.sent_at - START < GONE.back
    }
    after = {a.document for a in requests if a.tier == "ollama" and a.sent_at >= back}
    assert after - during
    run = read(tmp_path, requests)
    found = degraded.compared(run, "gaming-mode", "ollama")
    assert set(found.of_fallback.index) == during


def test_cut_answers_are_left_out_and_counted(tmp_path):
    requests = classify([GONE], {"vllm": 1.0, "ollama": 1.0}, duration_s=180)
    mine = [a for a in requests if a.tier == "ollama"][5:8]
    cut = [replace(a, outcome=Outcome.CUT, valid=None, wrong=None) if a in mine else a for a in requests]
    found = degraded.check(PARAMS, read(tmp_path, cut))
    assert found.status is Status.PASS
    assert "3 cut answers are left out" in found.evidence


def test_without_documents_it_reports_which_scenario_to_run(tmp_path):
    found = degraded.check(PARAMS, read(tmp_path, []))
    assert (found.status, found.measured) == (Status.UNKNOWN, "unknown")
    assert "run the scenario classify" in found.evidence


def test_a_fallback_that_classified_nothing_is_unknown(tmp_path):
    requests = [a for a in classify([GONE], {"vllm": 1.0, "ollama": 1.0}, duration_s=180) if a.tier == "vllm"]
    found = degraded.check(PARAMS, read(tmp_path, requests))
    assert found.status is Status.UNKNOWN
    assert found.evidence == "ollama classified no document while vllm was away"


def test_a_reference_that_classified_nothing_is_unknown(tmp_path):
    requests = [
        a for a in classify([GONE], {"vllm": 1.0, "ollama": 1.0}, duration_s=180) if a.tier == "ollama"
    ]
    found = degraded.check(PARAMS, read(tmp_path, requests))
    assert found.evidence == "vllm classified no document"


def test_a_step_that_never_began_is_unknown(tmp_path):
    requests = classify([], {"vllm": 1.0, "ollama": 1.0}, duration_s=60)
    found = degraded.check(PARAMS, read(tmp_path, requests, steps=[]))
    assert found.status is Status.UNKNOWN
    assert found.evidence == "step gaming-mode never began"


def test_it_stands_in_the_verdict_as_the_others_do(tmp_path):
    run = read(tmp_path, classify([GONE], {"vllm": 0.95, "ollama": 0.6}, duration_s=180))
    found = judge.judge(run)
    assert [f.status for f in found.findings if f.id == "NFR67"] == [Status.FAIL]
    assert found.exit_code == 1

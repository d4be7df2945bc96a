"""A whole run on a KServe predictor: with the class external it is away for the whole step; with none it is not."""

import json
import os

import pytest
import yaml

from contract import topology
from contract.run import read_lines
from tests.chaos.stand import ROOT
from tests.whole.stack import KEY, latest, locust

pytestmark = pytest.mark.verify  # a gateway of its own, and more than two minutes of load

ONCE = """
hypothesis: a predictor of the class none cannot be kept away
baseline: 15s
settle: 15s
max: 5m
steps: [{name: predictor-away, at: 15s, for: 60s, fault: scale_to_zero, target: vllm}]
expect: {exercised: {predictor-away: {ollama: 10}}}
"""


def run_timeline(stack, timeline, tmp_path):
    """The verdict's findings, and the events of chaos."""
    os.environ["LITELLM_MASTER_KEY"] = KEY
    process = locust(stack, timeline, tmp_path / "results")
    out, _ = process.communicate(timeout=900)
    run = latest(tmp_path / "results")
    assert (run / "report/verdict.json").exists(), out
    verdict = json.loads((run / "report/verdict.json").read_text())
    assert process.returncode == verdict["exit_code"], out
    # Findings that depend on the machine's speed are not asserted.
    found = {f["name"]: (f["status"], f["evidence"]) for f in verdict["findings"]}
    return found, read_lines(run / "chaos.jsonl")[0]


@pytest.mark.timeout(960)
@pytest.mark.shows(
    "kserve",
    "make soak TOPOLOGY=topologies/kserve.yaml TIMELINE=chaos/timelines/predictor.yaml",
    on="embedded + real LiteLLM",
)
def test_a_predictor_is_scaled_to_zero_for_a_minute_and_users_do_not_stay_on_the_next_tier(tmp_path):
    found, events = run_timeline(
        ROOT / "topologies/kserve.yaml", ROOT / "chaos/timelines/predictor.yaml", tmp_path
    )
    for name in ("restored", "run", "reconciled", "exercised", "cloud_only_in_need"):
        assert found[name][0] == "pass", found[name]
    for name in ("failover", "recovery"):
        assert found[name][0] != "fail", found[name]
    at = {(e["move"], e["stage"]): e["at"] for e in events if e["step"] == "predictor-away"}
    assert at["restore", "begin"] - at["inject", "begin"] >= 59


@pytest.mark.timeout(960)
def test_with_the_class_none_the_run_reports_the_change_back_and_leaves_nothing_open(tmp_path):
    data = yaml.safe_load((ROOT / "topologies/kserve.yaml").read_text())
    data["embedded"]["kserve"]["vllm"]["autoscaler_class"] = "none"
    (tmp_path / "none.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "litellm_kserve.yaml").write_text((ROOT / "topologies/litellm_kserve.yaml").read_text())
    assert topology.read(tmp_path / "none.yaml").embedded.kserve["vllm"].autoscaler_class == "none"
    (tmp_path / "once.yaml").write_text(ONCE)
    found, events = run_timeline(tmp_path / "none.yaml", tmp_path / "once.yaml", tmp_path)
    status, evidence = found["restored"]
    assert status == "unknown"
    assert "changed by someone else, left alone" in evidence
    assert found["exercised"][0] != "pass"
    (left,) = [e for e in events if (e["move"], e["stage"]) == ("restore", "fail")]
    assert (
        "llm/llama-fp8-predictor (replicas before the fault: 1) was scaled to 1 by someone else"
        in left["error"]
    )
    assert left["detail"] == {"foreign": True}

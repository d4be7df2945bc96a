"""A run on reasoning models that show no token of their small answers, behind a real LiteLLM: users are served, each mend is
verified, and a header of the operator's own reaches the gateway and no file."""

import json
import os

import pytest
import yaml

from contract.records import REQUESTS
from contract.run import read_arrow, read_lines
from tests.whole.stack import KEY, SHORT, latest, locust, write_inputs

SECRET = "s3cret-of-the-proxy"
THINKING = {
    "vllm": {"reasoning": "hidden", "reasoning-tokens": 64},
    "ollama": {"reasoning": "reasoning", "reasoning-tokens": 64},
    "openai": {"reasoning": "hidden", "reasoning-tokens": 64},
}


def _inputs(folder):
    path = write_inputs(folder)
    data = yaml.safe_load(path.read_text())
    for tier, params in THINKING.items():
        data["embedded"]["engines"][tier] |= params
    data["gateway"] |= {"headers": {"X-Sso": "${TEST_SSO}"}, "max_tokens": 12}
    path.write_text(yaml.safe_dump(data))
    gateway = yaml.safe_load((folder / "litellm.yaml").read_text())
    for entry in gateway["model_list"]:
        params = entry["litellm_params"]
        params["model"] = params["model"].replace("ollama/", "ollama_chat/")
    (folder / "litellm.yaml").write_text(yaml.safe_dump(gateway))
    (folder / "short.yaml").write_text(SHORT)
    return path, folder / "short.yaml"


@pytest.mark.verify
@pytest.mark.timeout(600)
def test_a_run_on_models_that_show_no_token_passes_and_every_mend_is_verified(tmp_path, monkeypatch):
    monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)
    monkeypatch.setenv("TEST_SSO", SECRET)
    topology, timeline = _inputs(tmp_path)
    process = locust(topology, timeline, tmp_path / "results")
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    run = latest(tmp_path / "results")
    verdict = json.loads((run / "report" / "verdict.json").read_text())
    assert verdict["exit_code"] == 0, said

    asks, _ = read_arrow(run / "requests.arrow", REQUESTS)
    probe, _ = read_arrow(run / "probe.arrow", REQUESTS)
    good = [r for r in asks.to_pylist() + probe.to_pylist() if r["outcome"] == "ok"]
    of = {tier: [r for r in good if r["tier"] == tier] for tier in THINKING}
    assert min(len(records) for records in of.values()) > 0
    for tier in ("vllm", "openai"):
        assert {(r["ttft_ms"], r["witness"], r["finish_reason"]) for r in of[tier]} == {
            (None, "end", "length")
        }
    assert {r["witness"] for r in of["ollama"]} == {"end"}
    assert {r["max_tokens"] for r in asks.to_pylist() if r["scenario"] in ("chat", "direct")} == {12}
    assert {r["outcome"] for r in probe.to_pylist()} <= {"ok", "abandoned", "rejected", "refused"}, (
        "none is broken"
    )
    events, _ = read_lines(run / "chaos.jsonl")
    assert [e["target"] for e in events if (e["move"], e["stage"]) == ("mend", "effective")] == [
        "ollama",
        "vllm",
    ]
    for folder, _, files in os.walk(tmp_path / "results"):
        for file in files:
            assert SECRET.encode() not in open(os.path.join(folder, file), "rb").read(), file  # noqa: SIM115
    assert SECRET not in said

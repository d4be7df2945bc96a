"""A group with an order behind a real LiteLLM: its second deployment answers when its first cannot, and at no other time."""

import json

import pytest
import yaml

from contract.run import read_arrow, read_lines
from contract.schemas import REQUESTS
from embedded.engine.ledger import read
from tests.chaos.stand import ROOT
from tests.whole.stack import latest, locust

COOLDOWN_S = 5


def _inputs(folder):
    """As topologies/ordered.yaml and chaos/timelines/ordered.yaml, but shorter, and with a short cooldown."""
    topology = yaml.safe_load((ROOT / "topologies/ordered.yaml").read_text())
    topology["gateway"]["cooldown"] = f"{COOLDOWN_S}s"
    topology["embedded"]["engines"]["vllm"]["startup-duration"] = "200ms"
    gateway = yaml.safe_load((ROOT / "topologies/litellm_ordered.yaml").read_text())
    gateway["router_settings"]["cooldown_time"] = COOLDOWN_S
    gateway["model_list"][0]["litellm_params"]["timeout"] = 60  # a busy machine is not a dead deployment
    timeline = yaml.safe_load((ROOT / "chaos/timelines/ordered.yaml").read_text())
    timeline |= {"baseline": "8s", "settle": "14s"}
    timeline["steps"][0] |= {"at": "8s", "for": "12s"}
    for name, data in (("ordered", topology), ("litellm_ordered", gateway), ("timeline", timeline)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(data))
    return folder / "ordered.yaml", folder / "timeline.yaml"


@pytest.mark.verify
@pytest.mark.timeout(300)
@pytest.mark.shows(
    "order",
    "make soak TOPOLOGY=topologies/ordered.yaml TIMELINE=chaos/timelines/ordered.yaml",
    on="embedded + real LiteLLM",
)
def test_the_cloud_of_a_group_with_an_order_answers_only_in_need_and_is_named(tmp_path):
    process = locust(*_inputs(tmp_path), tmp_path / "results", "--scenarios", "chat", users=4)
    out, _ = process.communicate(timeout=280)
    run = latest(tmp_path / "results")
    found = {f["name"]: f for f in json.loads((run / "report/verdict.json").read_text())["findings"]}
    for name in ("restored", "reconciled", "cloud_only_in_need", "exercised"):
        assert found[name]["status"] == "pass", (name, found[name], out)
    for name in ("failover", "recovery"):  # a busy machine may make them unknown, but not fail
        assert found[name]["status"] in ("pass", "unknown"), (name, found[name])
    requests = [
        a for name in ("requests.arrow", "probe.arrow") for a in read_arrow(run / name, REQUESTS)[0].to_pylist()
        if a["via"] == "gateway" and a["outcome"] == "ok" and a["lane"] != "warmup"
    ]  # fmt: skip
    ledgers = {tier: {e.nonce for e in read(run / "ledger" / f"{tier}.jsonl")} for tier in ("vllm", "openai")}
    assert all(a["request_id"] in ledgers[a["tier"]] for a in requests)
    commanded = next(
        e["at"]
        for e in read_lines(run / "chaos.jsonl")[0]
        if (e["move"], e["stage"]) == ("inject", "commanded")
    )
    assert {a["tier"] for a in requests if a["sent_at"] + a["ttft_ms"] / 1000 < commanded} == {"vllm"}
    summary = (run / "report/summary.md").read_text()
    assert "| openai (cloud: spurious ones are leaks) |" in summary

"""Three deployments in one group behind a real LiteLLM: their shares agree with the engines' ledgers, and one of them goes and comes back."""

import json
from collections import Counter

import pytest
import yaml

from contract.run import read_arrow, read_lines
from contract.schemas import REQUESTS
from embedded.engine.ledger import read
from tests.chaos.stand import ROOT
from tests.whole.stack import latest, locust

PEERS = ("vllm-a", "vllm-b", "vllm-c")
COOLDOWN_S = 5


def _inputs(folder):
    """As topologies/balanced.yaml and chaos/timelines/one_of_three.yaml, but shorter, and with a short cooldown."""
    topology = yaml.safe_load((ROOT / "topologies/balanced.yaml").read_text())
    topology["gateway"]["cooldown"] = f"{COOLDOWN_S}s"
    for params in topology["embedded"]["engines"].values():
        params["startup-duration"] = "200ms"
    gateway = yaml.safe_load((ROOT / "topologies/litellm_balanced.yaml").read_text())
    gateway["router_settings"]["cooldown_time"] = COOLDOWN_S
    for entry in gateway["model_list"]:
        entry["litellm_params"]["timeout"] = 60  # a busy machine is not a dead deployment
    timeline = yaml.safe_load((ROOT / "chaos/timelines/one_of_three.yaml").read_text())
    timeline |= {"baseline": "20s", "settle": "30s"}
    timeline["steps"][0] |= {"at": "20s", "for": "25s"}
    for name, data in (("balanced", topology), ("litellm_balanced", gateway), ("one_of_three", timeline)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(data))
    return folder / "balanced.yaml", folder / "one_of_three.yaml"


@pytest.mark.verify
@pytest.mark.timeout(600)
@pytest.mark.shows(
    "balancing",
    "make soak TOPOLOGY=topologies/balanced.yaml TIMELINE=chaos/timelines/one_of_three.yaml USERS=20",
    on="embedded + real LiteLLM",
)
def test_the_shares_are_those_of_the_ledgers_and_one_of_three_goes_and_comes_back(tmp_path):
    process = locust(*_inputs(tmp_path), tmp_path / "results", "--scenarios", "chat", users=12)
    out, _ = process.communicate(timeout=580)
    run = latest(tmp_path / "results")
    found = {f["name"]: f for f in json.loads((run / "report/verdict.json").read_text())["findings"]}
    assert found["restored"]["status"] == "pass", out
    assert found["reconciled"]["status"] == "pass", out
    requests = [
        a for name in ("requests.arrow", "probe.arrow") for a in read_arrow(run / name, REQUESTS)[0].to_pylist()
        if a["via"] == "gateway" and a["outcome"] == "ok" and a["lane"] != "warmup"
    ]  # fmt: skip
    # Each answer is in the ledger of the deployment that we name.
    ledgers = {tier: {e.nonce for e in read(run / "ledger" / f"{tier}.jsonl")} for tier in (*PEERS, "ollama")}
    assert all(a["request_id"] in ledgers[a["tier"]] for a in requests if a["tier"] in PEERS)
    events = {(e["move"], e["stage"]): e["at"] for e in read_lines(run / "chaos.jsonl")[0]}
    gone = (events["inject", "effective"], events["restore", "commanded"])
    meanwhile = Counter(
        a["tier"]
        for a in requests
        if gone[0] <= a["sent_at"] and a["sent_at"] + a["ttft_ms"] / 1000 < gone[1]
    )
    assert meanwhile["vllm-b"] == 0
    assert meanwhile["vllm-a"] > 0
    assert meanwhile["vllm-c"] > 0
    before = Counter(a["tier"] for a in requests if a["sent_at"] < events["inject", "commanded"])
    assert set(before) == set(PEERS)
    # A shuffle chooses at random: a deviation beyond chance fails, and too few answers are unknown.
    assert found["balance"]["status"] in ("pass", "unknown"), out
    assert "one-gone: in effect" in found["balance"]["evidence"]
    # LiteLLM draws retries by the same shuffle and hands some down: their number is random, but each must be recorded.
    down = [a["request_id"] for a in requests if a["tier"] == "ollama"]
    assert set(down) <= ledgers["ollama"]
    handed_down = found["handed_down"]
    assert handed_down["evidence"].startswith(f"{len(down)} answers by lower tiers of "), handed_down[
        "evidence"
    ]
    assert (handed_down["status"] == "fail") == (handed_down["value"] > 3)
    assert found["recovery"]["status"] in ("pass", "unknown"), found["recovery"]["evidence"]
    assert "| one-gone: in effect |" in (run / "report/summary.md").read_text()
    tiers = (run / "report/report.html").read_text()
    assert "spread its answers over the deployments of one group" in tiers

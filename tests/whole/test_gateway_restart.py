"""The gateway of the embedded stack as the target: its Pod goes and comes back, and it hangs; on a host: test_one_host.py."""

import json

import pytest
import yaml

from chaos import plan
from contract import timeline, topology
from contract.records import GATEWAY
from tests.chaos.stand import ROOT, events
from tests.whole.stack import latest, locust


@pytest.mark.parametrize("fault", ["scale_to_zero", "scale_to", "pod_kill", "process_kill", "process_freeze"])
def test_what_takes_a_tier_takes_the_gateway(tmp_path, fault):
    given = yaml.safe_load((ROOT / "chaos/timelines/gateway_restart_k8s.yaml").read_text())
    given["steps"][0] |= {"fault": fault, "with": {"replicas": 0} if fault == "scale_to" else {}}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(given))
    (bound,) = plan.bind(
        timeline.read(tmp_path / "t.yaml"), topology.read(ROOT / "topologies/embedded.yaml"), "t.yaml"
    )
    assert bound.target == GATEWAY


@pytest.mark.shows(
    "systemd", "make soak TIMELINE=chaos/timelines/gateway_restart_k8s.yaml", on="embedded + real LiteLLM"
)
@pytest.mark.verify
@pytest.mark.timeout(900)
def test_its_pod_goes_with_its_grace_and_a_client_that_retries_is_answered(stack, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    given = yaml.safe_load((ROOT / "chaos/timelines/gateway_restart_k8s.yaml").read_text())
    given |= {"baseline": "12s", "settle": "15s", "max": "10m"}
    hang = {"name": "hang", "at": "180s", "for": "10s", "fault": "process_freeze", "target": "gateway"}
    given["steps"] = [given["steps"][0] | {"at": "12s"}, hang]
    given["expect"]["retried"] = {"within": "3m"}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(given))
    process = locust(stack.path, tmp_path / "t.yaml", tmp_path / "results", users=10)
    out, _ = process.communicate(timeout=800)
    run = latest(tmp_path / "results")
    found = {f["name"]: f for f in json.loads((run / "report" / "verdict.json").read_text())["findings"]}
    assert found["restored"]["status"] == found["exercised"]["status"] == "pass", out
    assert found["retried"]["status"] == "pass", out
    assert "refused saved" in found["retried"]["evidence"]
    effective = [e for e in events(run) if e["stage"] == "effective"]
    assert [(e["step"], e["move"], e["target"]) for e in effective] == [
        (step, move, GATEWAY) for step in ("restart", "hang") for move in ("inject", "restore")
    ]
    health = (run / "report" / "summary.md").read_text()
    assert "gateway" in health

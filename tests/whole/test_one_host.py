"""One host under a real systemd: a real LiteLLM, a simulated vLLM and a real llama.cpp as its units.

The network and the files are this machine's; the units, their cgroups and their PID 1 are the test's own. The gateway is
restarted under load, and killed under load.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from contract import topology
from contract.records import GATEWAY
from contract.refusal import EXIT_BAD_INPUT
from embedded import gateway
from embedded.ports import free_port
from tests.chaos.hosts import RealHost, why_not_real
from tests.chaos.stand import ROOT, events, until
from tests.whole.stack import KEY, latest, locust

pytestmark = [pytest.mark.verify, pytest.mark.timeout(900)]  # a gateway that boots twice

TIERS = ("vllm", "llama-server")
UP_S = 200  # a gateway's boot on a busy machine
BOOTED_S = 120


class OneHost:
    """topologies/one_host.yaml with its first two tiers, on ports that are free here."""

    def __init__(self, host: RealHost, folder: Path) -> None:
        self.host, self.folder = host, folder
        given = yaml.safe_load((ROOT / "topologies/one_host.yaml").read_text())
        given["tiers"] = given["tiers"][: len(TIERS)]
        rng = random.Random()
        ports = {name: free_port(rng) for name in (GATEWAY, *TIERS)}
        old = {GATEWAY: 4000, "vllm": 8000, "llama-server": 8080}
        for part, name in ((given["gateway"], GATEWAY), *zip(given["tiers"], TIERS, strict=True)):
            for key in ("url", "health"):
                part[key] = part[key].replace(f":{old[name]}", f":{ports[name]}")
        given["gateway"]["cooldown"] = "5s"
        self.path = folder / "topology.yaml"
        self.path.write_text(yaml.safe_dump(given))
        self.topology = topology.read(self.path)
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(configuration(self.topology)))
        host.install(units(self, ports))

    def start(self) -> None:
        for unit in ("vllm.service", "llama-server.service", "litellm.service"):
            self.host.systemctl("reset-failed", unit, check=False)
            self.host.systemctl("start", unit)
        until(
            lambda: "NOT WELL" not in self.plan(), f"all services answer; the last plan:\n{self.plan()}", UP_S
        )

    def plan(self) -> str:
        """What `make plan` prints."""
        timeline = ROOT / "chaos/timelines/gateway_restart.yaml"
        done = subprocess.run(
            [sys.executable, "-m", "chaos", "plan", "--topology", str(self.path), "--timeline", str(timeline)],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


def configuration(stack: topology.Topology) -> dict:
    """The proxy's configuration: the second tier is the fallback of the first."""
    given = yaml.safe_load((ROOT / "topologies/litellm.yaml").read_text())
    given["model_list"] = [
        {
            "model_name": tier.match.group,
            "litellm_params": {
                "model": f"openai/{tier.model}",
                "api_base": tier.url,
                "api_key": "none",
                "timeout": 60,
            },
        }
        for tier in stack.tiers
    ]
    first, second = (tier.match.group for tier in stack.tiers)
    given["router_settings"] |= {"fallbacks": [{first: [second]}], "cooldown_time": 5}
    return given


def units(one: OneHost, ports: dict[str, int]) -> dict[str, str]:
    env = "\n".join(
        f"Environment={k}={v}" for k, v in (gateway.ENVIRONMENT | {"LITELLM_MASTER_KEY": KEY}).items()
    )
    ours = f"Environment=PYTHONPATH={ROOT}\nWorkingDirectory={ROOT}"
    vllm, llama = one.topology.tiers
    # Slow, so that answers are under way at any time.
    slow = "--startup-duration 200ms --inter-token-latency 60ms"
    return {
        "litellm.service": f"""[Service]
{env}
WorkingDirectory={one.folder}
Restart=always
RestartSec=1s
StandardOutput=append:{one.folder}/litellm.log
StandardError=inherit
ExecStart={ROOT}/.venv-gateway/bin/litellm --config {one.config} --host 127.0.0.1 --port {ports[GATEWAY]} --num_workers 1
""",
        "vllm.service": f"""[Service]
{ours}
ExecStart={sys.executable} -m embedded.engine --personality vllm --port {ports["vllm"]} --model {vllm.model} {slow}
""",
        "llama-server.service": f"""[Service]
{ours}
ExecStart={ROOT}/.venv-engines/bin/python -m embedded.llamacpp --port {ports["llama-server"]} --model {llama.model} --models {one.folder}/models
""",
    }


@pytest.fixture(scope="module")
def booted(tmp_path_factory):
    why = why_not_real()
    if why:
        pytest.skip(f"no systemd of our own here: {why}")
    host = RealHost(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.fixture(scope="module")
def installed(booted, tmp_path_factory):
    return OneHost(booted, tmp_path_factory.mktemp("one"))


@pytest.fixture
def one(installed, monkeypatch, tmp_path):
    """The host with all services answering."""
    monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{installed.host.folder}{os.pathsep}{os.environ['PATH']}")
    installed.start()
    return installed


def run_timeline(one: OneHost, folder: Path, fault: str = "unit_restart") -> tuple[dict[str, dict], str]:
    """Findings of chaos/timelines/gateway_restart.yaml, with less time around the step and longer limits for this machine."""
    given = yaml.safe_load((ROOT / "chaos/timelines/gateway_restart.yaml").read_text())
    given |= {"baseline": "12s", "settle": "15s", "max": "15m"}
    given["steps"][0] |= {"at": "12s", "for": f"{BOOTED_S}s", "fault": fault}
    given["expect"]["retried"]["within"] = "5m"  # a client's limit is tested elsewhere
    (folder / "restart.yaml").write_text(yaml.safe_dump(given))
    process = locust(one.path, folder / "restart.yaml", folder / "results", users=12)
    out, _ = process.communicate(timeout=800)
    report = json.loads((latest(folder / "results") / "report" / "verdict.json").read_text())
    print(out)
    return {f["name"]: f for f in report["findings"]}, out


@pytest.mark.shows(
    "systemd",
    "make soak TOPOLOGY=topologies/one_host.yaml TIMELINE=chaos/timelines/gateway_restart.yaml",
    on="real systemd + real LiteLLM + real engine",
)
def test_every_request_that_a_restart_of_the_gateway_loses_is_saved_by_a_retry(one, tmp_path):
    before = one.host.show("litellm.service", "InvocationID")
    found, out = run_timeline(one, tmp_path)
    assert found["restored"]["status"] == found["retried"]["status"] == "pass", out
    assert found["retried"]["measured"].startswith("0 lost (0 cut or stalled), "), out
    assert found["exercised"]["status"] == "pass", out
    assert one.host.show("litellm.service", "InvocationID") != before
    assert one.host.show("brownout-restore-litellm.timer", "LoadState") == "not-found"
    recorded = events(latest(tmp_path / "results"))
    assert {e["target"] for e in recorded} == {GATEWAY}
    assert [(e["move"], e["stage"]) for e in recorded if e["stage"] == "effective"] == [
        ("inject", "effective"), ("restore", "effective"),
    ]  # fmt: skip


def test_a_gateway_that_is_killed_in_mid_stream_loses_what_no_retry_saves(one, tmp_path):
    found, out = run_timeline(one, tmp_path, fault="unit_kill")
    assert found["restored"]["status"] == "pass", out
    retried = found["retried"]
    assert retried["status"] == "fail", out
    assert retried["value"] >= 1
    assert "cut lost" in retried["evidence"]


def test_a_unit_that_would_not_start_again_is_named_before_it_is_taken_away(one, tmp_path):
    assert "gateway: lists vllm-qwen, " in one.plan()  # then its version, and that it streams
    away = one.config.rename(one.folder / "moved.yaml")
    try:
        message = (
            f"unit litellm.service would not start again: the file of --config, {one.config}, does not exist"
        )
        assert message in one.plan()
        before = one.host.show("litellm.service", "InvocationID")
        timeline = ROOT / "chaos/timelines/gateway_restart.yaml"
        (tmp_path / "run").mkdir()
        refused = subprocess.run(
            [sys.executable, "-m", "chaos", "run", "--topology", str(one.path), "--timeline", str(timeline),
             "--run", str(tmp_path / "run")],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert (refused.returncode, message in refused.stderr) == (EXIT_BAD_INPUT, True), refused.stderr
        assert one.host.show("litellm.service", "InvocationID") == before
    finally:
        away.rename(one.config)


def test_a_url_that_leads_to_another_unit_is_named(one):
    given = yaml.safe_load(one.path.read_text())
    vllm, llama = given["tiers"]
    vllm["handles"], llama["handles"] = llama["handles"], vllm["handles"]
    swapped = one.path.with_name("swapped.yaml")
    swapped.write_text(yaml.safe_dump(given))
    one.path, kept = swapped, one.path
    try:
        assert "belongs to vllm.service, not to the unit" in one.plan()
    finally:
        one.path = kept

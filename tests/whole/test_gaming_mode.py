"""One GPU that games and the engine share: the project's timelines, shortened, with a real LiteLLM before the engines.

On a host the operator's switch is `gpu-mode`: a stand-in for it stops and starts the engine. On a cluster the engine's
Deployment is scaled.
"""

import base64
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from contract.records import GATEWAY
from contract.run import read_arrow
from contract.schemas import REQUESTS
from tests.chaos.hosts import RecordedHost
from tests.chaos.stand import ROOT, events, until
from tests.whole.stack import latest, locust

pytestmark = [pytest.mark.verify, pytest.mark.timeout(600)]  # each runs a timeline

SURE = ("restored", "exercised", "cloud_only_in_need")
TIMED = ("failover", "overhead", "recovery", "continuity", "cuts")
TIMER = "brownout-restore-gpu-mode.timer"


class Switch:
    """`gpu-mode` on PATH, and the topology of the stack with the handles of topologies/gaming.yaml."""

    def __init__(self, stack, folder: Path) -> None:
        self.folder = folder
        self.host = RecordedHost(folder / "bin")  # systemd-run and systemctl, for the dead-man
        (folder / "mode").write_text("ml")
        (folder / "cluster.json").write_text(json.dumps(reached(stack.topology.kubeconfig)))
        stand_in = ROOT / "tests/whole/gpu_mode.py"
        self.host._command("gpu-mode", f'{sys.executable} -I -S {stand_in} {folder} "$@"')
        given = yaml.safe_load(stack.path.read_text())
        gaming = yaml.safe_load((ROOT / "topologies/gaming.yaml").read_text())
        given["tiers"][0]["handles"] = gaming["tiers"][0]["handles"]
        self.topology = folder / "topology.yaml"
        self.topology.write_text(yaml.safe_dump(given))

    def mode(self) -> str:
        return (self.folder / "mode").read_text()

    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def run(self, word: str) -> subprocess.CompletedProcess:
        return subprocess.run([self.host.folder / "gpu-mode", word], capture_output=True, text=True)


def reached(kubeconfig: str) -> dict[str, str | None]:
    """Url, token and certificate of the API, for a program that reads no kubeconfig."""
    given = yaml.safe_load(Path(kubeconfig).read_text())
    cluster = given["clusters"][0]["cluster"]
    ca = cluster.get("certificate-authority-data")
    return {
        "url": cluster["server"],
        "token": given["users"][0]["user"]["token"],
        "ca": base64.b64decode(ca).decode() if ca else None,
    }


@pytest.fixture
def switch(stack, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = Switch(stack, tmp_path)
    monkeypatch.setenv("PATH", f"{found.host.folder}{os.pathsep}{os.environ['PATH']}")
    return found


def shortened(name: str, folder: Path, for_s: int = 30) -> Path:
    """A timeline of the project with shorter phases."""
    given = yaml.safe_load((ROOT / f"chaos/timelines/{name}.yaml").read_text())
    given |= {"baseline": "12s", "settle": "14s"}
    given["steps"][0] |= {"at": "12s", "for": f"{for_s}s"}
    given["expect"]["exercised"] = {"gaming-mode": {"ollama": 3}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def run_timeline(topology: Path, timeline: Path, folder: Path) -> Path:
    """The run's folder; users were served by vllm, by ollama while it was away, and by vllm again."""
    process = locust(topology, timeline, folder / "results")
    out, _ = process.communicate(timeout=400)
    run = latest(folder / "results")
    found = json.loads((run / "report" / "verdict.json").read_text())["findings"]
    status = {f["name"]: f["status"] for f in found}
    assert {name: status[name] for name in SURE} == dict.fromkeys(SURE, "pass"), out
    # The times depend on the machine, and a busy one leaves no evidence.
    assert "fail" not in {s for name, s in status.items() if name not in TIMED}, out
    at = {(e["move"], e["stage"]): e["at"] for e in events(run)}
    good = [
        (record["sent_at"], record["tier"])
        for name in ("requests.arrow", "probe.arrow")
        for record in read_arrow(run / name, REQUESTS)[0].to_pylist()
        if record["via"] == GATEWAY and record["outcome"] == "ok"
    ]
    # A busy machine makes a tier late, and then the next one answers too; but a tier that is away gives no answer.
    by = {
        phase: {tier for sent_at, tier in good if since <= sent_at < until}
        for phase, since, until in (
            ("before", 0.0, at["inject", "begin"]),
            ("away", at["inject", "effective"], at["restore", "commanded"]),
            ("back", at["restore", "effective"], math.inf),
        )
    }
    assert "vllm" in by["before"]
    assert "vllm" not in by["away"]
    assert "ollama" in by["away"]
    assert "vllm" in by["back"]
    return run


@pytest.mark.shows(
    "gpu_mode",
    "make soak TOPOLOGY=topologies/gaming.yaml TIMELINE=chaos/timelines/gaming_mode.yaml",
    on="embedded + real LiteLLM + a stand-in",
)
def test_while_the_gpu_is_for_games_users_are_served_by_the_next_tier_and_then_as_before(
    stack, switch, tmp_path
):
    run = run_timeline(switch.topology, shortened("gaming_mode", tmp_path), tmp_path)
    assert switch.log() == ["gaming", "ml"]
    assert switch.mode() == "ml"
    calls = [" ".join(c) for c in switch.host.calls() if "brownout-restore" in " ".join(c)]
    assert [line.split()[0] for line in calls] == ["systemd-run", "systemctl"]
    assert TIMER in calls[0]
    assert calls[0].endswith("gpu-mode ml")
    assert calls[1] == f"systemctl stop {TIMER}"
    at = {(e["move"], e["stage"]): e["at"] for e in events(run)}
    # The switch is slow, and the engine is gone long before it ends: the users' outage counts from its start.
    assert at["inject", "effective"] - at["inject", "commanded"] > 1
    assert (
        at["inject", "commanded"] - at["inject", "begin"]
        < at["inject", "effective"] - at["inject", "commanded"]
    )
    assert at["restore", "effective"] - at["restore", "commanded"] > 1
    assert stack.send()[0] == "vllm-qwen"


@pytest.mark.shows(
    "gpu_mode", "make soak TIMELINE=chaos/timelines/gaming_mode_k8s.yaml", on="embedded + real LiteLLM"
)
def test_on_a_cluster_it_is_the_same(stack, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run_timeline(stack.path, shortened("gaming_mode_k8s", tmp_path), tmp_path)
    assert stack.send()[0] == "vllm-qwen"


@pytest.mark.parametrize("moment", ["while it switches", "while games are played"])
def test_a_killed_controller_leaves_no_games_on_the_gpu(stack, switch, tmp_path, moment):
    run = tmp_path / "run"
    run.mkdir()
    controller = subprocess.Popen(
        [sys.executable, "-m", "chaos", "run", "--topology", str(switch.topology), "--run", str(run),
         "--timeline", str(shortened("gaming_mode", tmp_path, for_s=120))],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    if moment == "while it switches":
        until(lambda: switch.log() == ["gaming"], "it switches", 60)
        assert switch.mode() != "gaming"
    else:
        until(lambda: ("inject", "effective") in stages(events(run)), "games are played", 60)
        assert stack.send()[0] == "ollama-qwen"
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()

    def by_guardian() -> list[dict]:
        path = run / "guardian.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    until(lambda: ("restore", "effective") in stages(by_guardian()), "the guardian has restored", 60)
    assert switch.mode() == "ml"
    assert switch.log() == ["gaming", "ml"]
    until(lambda: stack.ready("ml", "vllm-server") == 1, "the engine is back")
    until(lambda: stack.send()[0] == "vllm-qwen", "users are on the GPU again", 60)


def stages(found: list[dict]) -> list[tuple[str, str]]:
    return [(e["move"], e["stage"]) for e in found]


def test_the_stand_in_refuses_a_second_switch_and_goes_on_after_a_killed_one(stack, switch):
    first = subprocess.Popen([switch.host.folder / "gpu-mode", "gaming"], start_new_session=True)
    until(lambda: switch.mode() == "switching", "it switches")
    second = switch.run("ml")
    assert (second.returncode, second.stderr) == (3, "gpu-mode: a switch is under way\n")
    assert switch.run("status").stdout.strip() == "switching"
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert switch.run("ml").returncode == 0
    assert switch.mode() == "ml"
    assert switch.log() == ["gaming", "ml refused", "ml"]

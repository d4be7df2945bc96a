"""One GPU that games and the engine share: the timelines of the house, shortened, with a real LiteLLM before the engines.

On a host it is the operator's switch, `gpu-mode`, for which a stand-in stops and starts the engine; on a cluster its
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

pytestmark = [pytest.mark.verify, pytest.mark.timeout(600)]  # each walks a timeline

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
    """How the API is reached, without what reads a kubeconfig."""
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
    """A timeline of the house with less time in it."""
    given = yaml.safe_load((ROOT / f"chaos/timelines/{name}.yaml").read_text())
    given |= {"baseline": "12s", "settle": "14s"}
    given["steps"][0] |= {"at": "12s", "for": f"{for_s}s"}
    given["expect"]["exercised"] = {"gaming-mode": {"ollama": 3}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def walked(topology: Path, timeline: Path, folder: Path) -> Path:
    """The run's folder; users were served by vllm, by ollama while it was away, and by vllm again."""
    process = locust(topology, timeline, folder / "results")
    out, _ = process.communicate(timeout=400)
    run = latest(folder / "results")
    found = json.loads((run / "report" / "verdict.json").read_text())["findings"]
    status = {f["name"]: f["status"] for f in found}
    assert {name: status[name] for name in SURE} == dict.fromkeys(SURE, "pass"), out
    # How fast it went is the machine's affair, and one that is busy leaves no evidence.
    assert "fail" not in {s for name, s in status.items() if name not in TIMED}, out
    at = {(e["move"], e["stage"]): e["at"] for e in events(run)}
    good = [
        (record["sent_at"], record["tier"])
        for name in ("requests.arrow", "probe.arrow")
        for record in read_arrow(run / name, REQUESTS)[0].to_pylist()
        if record["via"] == GATEWAY and record["outcome"] == "ok"
    ]
    # A busy machine makes a tier late, and then the next one answers too; but one that is away answers nobody.
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
    run = walked(switch.topology, shortened("gaming_mode", tmp_path), tmp_path)
    assert switch.log() == ["gaming", "ml"]
    assert switch.mode() == "ml"
    told = [" ".join(c) for c in switch.host.calls() if "brownout-restore" in " ".join(c)]
    assert [line.split()[0] for line in told] == ["systemd-run", "systemctl"]
    assert TIMER in told[0]
    assert told[0].endswith("gpu-mode ml")
    assert told[1] == f"systemctl stop {TIMER}"
    at = {(e["move"], e["stage"]): e["at"] for e in events(run)}
    # The switch is slow, and its engine is gone long before it has ended: what users saw counts from its beginning.
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
    walked(stack.path, shortened("gaming_mode_k8s", tmp_path), tmp_path)
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

    def told() -> list[dict]:
        path = run / "guardian.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    until(lambda: ("restore", "effective") in stages(told()), "the guardian has restored", 60)
    assert switch.mode() == "ml"
    assert switch.log() == ["gaming", "ml"]
    until(lambda: stack.ready("ml", "vllm-server") == 1, "the engine is back")
    until(lambda: stack.send()[0] == "vllm-qwen", "users are on the GPU again", 60)


def stages(told: list[dict]) -> list[tuple[str, str]]:
    return [(e["move"], e["stage"]) for e in told]


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

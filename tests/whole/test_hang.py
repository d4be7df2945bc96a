"""The same load once in a closed loop and once in an open one, with a hang of the only engine.

A closed loop sends nothing in the hang, so its numbers hide what requests at that time would have seen. The open one keeps
sending, and every request that was due in the hang shows it.
"""

import subprocess
import sys

import pytest
import yaml

from contract import samplers
from contract.run import read_arrow, read_lines
from contract.schemas import REQUESTS
from tests.chaos.stand import ROOT
from tests.whole.stack import KEY, latest, locust

HANG_S, RATE = 10, 8
USERS, THINK_AT_MOST_S = 4, 6  # of scenarios/chat.py
SLACK_S = 0.5  # for requests under way when the engine is stopped, or answered at once when it continues
TIMELINE = f"""
hypothesis: users wait
baseline: 15s
settle: 12s
max: 3m
objectives: {{ttft_ms: 2000}}
steps: [{{name: hang, at: 15s, for: {HANG_S}s, fault: process_freeze, target: vllm}}]
expect: {{continuity: {{min_good: 0.5}}}}
"""


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """One engine, and a gateway with no fallback and a long timeout."""
    monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stack = yaml.safe_load((ROOT / "topologies/embedded.yaml").read_text())
    stack["tiers"] = stack["tiers"][:1]
    # Kept connections outlast the hang: a connection older than the engine's keep-alive time would be reset after it.
    vllm = {"personality": "vllm", "startup-duration": "200ms", "http-timeout-keep-alive": "60s"}
    stack["embedded"]["engines"] = {"vllm": vllm}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(stack))
    gateway = yaml.safe_load((ROOT / "topologies/litellm.yaml").read_text())
    gateway["model_list"] = gateway["model_list"][:1]
    gateway["model_list"][0]["litellm_params"]["timeout"] = 120
    del gateway["router_settings"]["fallbacks"]
    (tmp_path / "litellm.yaml").write_text(yaml.safe_dump(gateway))
    (tmp_path / "hang.yaml").write_text(TIMELINE)
    return tmp_path


def run_load(inputs, name: str, *more: str, users: int) -> tuple[dict, str]:
    """A run's requests, when the engine stopped and continued; and the report's text."""
    process = locust(
        inputs / "one.yaml", inputs / "hang.yaml", inputs / name, "--scenarios", "chat", *more, users=users
    )
    out, _ = process.communicate(timeout=240)
    run = latest(inputs / name)
    at = {(e["move"], e["stage"]): e["at"] for e in read_lines(run / "chaos.jsonl")[0]}
    requests = [a for a in read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist() if a["lane"] == "load"]
    report = subprocess.run(
        [sys.executable, "-m", "analysis", "report", str(run)], cwd=ROOT, capture_output=True, text=True
    )
    client = samplers.read(run, "client")[0].to_pylist()
    return {
        "run": run, "requests": requests, "client": client,
        "stopped_at": at["inject", "effective"], "goes_on_at": at["restore", "begin"],
    }, report.stdout + out  # fmt: skip


def from_schedule_s(record: dict) -> float:
    return record["sent_at"] + record["latency_ms"] / 1000 - record["scheduled_at"]


def due_in_hang(found: dict) -> list[dict]:
    low, high = found["stopped_at"] + SLACK_S, found["goes_on_at"] - SLACK_S
    return [a for a in found["requests"] if low < a["scheduled_at"] < high]


def latency_line(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("Latency, p99"))


def show(name: str, found: dict, text: str) -> None:
    hang_s = found["goes_on_at"] - found["stopped_at"]
    length_s = max(a["scheduled_at"] for a in found["requests"]) - min(
        a["scheduled_at"] for a in found["requests"]
    )
    due = due_in_hang(found)
    print(
        f"\n{name}: {len(found['requests'])} requests in {length_s:.0f} s, {hang_s:.1f} s of them a hang ({hang_s / length_s:.0%}); "
        f"{len(due)} requests ({len(due) / len(found['requests']):.0%}) due in it\n{latency_line(text)}"
    )


def check(opened: dict, closed: dict) -> None:
    for found in (opened, closed):
        assert {a["outcome"] for a in found["requests"]} <= {"ok", "abandoned"}
    due = due_in_hang(opened)
    assert (
        len(due) > RATE * (HANG_S - 2 * SLACK_S) / 2
    )  # Poisson: less than half of the expected number does not occur
    for record in due:
        assert from_schedule_s(record) > opened["goes_on_at"] - record["scheduled_at"], record
    assert sum(row["scheduled"] for row in opened["client"]) == len(opened["requests"])
    # Each user of the closed loop hangs once, at the latest after the longest think time.
    assert len(due_in_hang(closed)) <= USERS
    silent_from = closed["stopped_at"] + THINK_AT_MOST_S + SLACK_S
    assert silent_from < closed["goes_on_at"] - 1
    assert not [a for a in due_in_hang(closed) if a["scheduled_at"] > silent_from]
    assert [a for a in due if a["scheduled_at"] > opened["stopped_at"] + THINK_AT_MOST_S + SLACK_S]


@pytest.mark.verify
@pytest.mark.timeout(600)
def test_an_open_loop_shows_in_a_hang_what_a_closed_one_hides(inputs):
    opened, opened_words = run_load(inputs, "open", "--arrivals", f"poisson:{RATE}/s", users=1)
    closed, closed_words = run_load(inputs, "closed", users=USERS)
    show("open", opened, opened_words)
    show("closed", closed, closed_words)
    check(opened, closed)
    assert "(a closed loop)" in latency_line(closed_words)
    assert "(a closed loop)" not in latency_line(opened_words)

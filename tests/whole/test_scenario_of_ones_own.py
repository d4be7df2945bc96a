"""A scenario is one file: an operator's own conversation works from the timeline to the report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from contract.records import Lane
from contract.refusal import EXIT_BAD_INPUT, EXIT_PASS
from contract.run import read_arrow
from contract.schemas import REQUESTS
from tests.chaos.stand import ROOT
from tests.scenarios.server import Server
from tests.whole.small_run import GOOD, SmallRun

FILE = '''
"""A batch job that continues one conversation; no person waits for it."""

from typing import Any

from locust import task

from contract.request import Request
from contract.refusal import Refusal
from scenarios.gateway.user import GatewayUser


class NightlyUser(GatewayUser):
    scenario = "nightly"
    unattended = True
    arguments = {"turns": {"type": int, "default": 2, "help": "turns of a conversation before it starts again (default 2)"}}

    @classmethod
    def read(cls, options: Any) -> int:
        if options.turns < 1:
            raise Refusal(f"--turns: {options.turns} is not a conversation; give 1 or more")
        return options.turns

    def wait_time(self) -> float:
        return 0.05

    @task
    def converse(self) -> None:
        history = [("system", "Sum up the day.")]
        for turn in range(self.user_context.shared(self.scenario, range).stop):
            question = f"Question {turn}"
            self.send(Request(prompt=question, stream=True, history=tuple(history)))
            history += [("user", question), ("assistant", "noted")]


USER = NightlyUser
'''


@pytest.fixture
def project(tmp_path):
    """The project with one more file under scenarios/."""
    folder = tmp_path / "project"
    (folder / "scenarios").mkdir(parents=True)
    for path in (
        *ROOT.glob("*.py"),
        *(ROOT / wing for wing in ("chaos", "analysis", "contract", "embedded")),
    ):
        (folder / path.name).symlink_to(path)
    for path in (ROOT / "scenarios").iterdir():
        (folder / "scenarios" / path.name).symlink_to(path)
    (folder / "scenarios/nightly.py").write_text(FILE)
    return folder


@pytest.mark.verify
@pytest.mark.parametrize("more", [(), ("--processes", "2")])
def test_a_file_under_scenarios_is_used_from_the_timeline_to_the_report(project, tmp_path, more):
    with Server([GOOD]) as gateway:
        small_run = SmallRun(tmp_path, gateway, baseline="1s")
        timeline = yaml.safe_load(small_run.timeline.read_text())
        timeline |= {
            "scenarios": ["nightly"],
            "objectives": {"ttft_ms": 0.001},
            "expect": {"goodput": {"min": 1.0}},
        }
        small_run.timeline.write_text(yaml.safe_dump(timeline))
        done = locust(project, small_run, "--turns", "3", *more)
        assert done.returncode == EXIT_PASS, done.stdout
        sent = [
            json.loads(r.partition(b"\r\n\r\n")[2])["messages"]
            for r in gateway.requests
            if r.startswith(b"POST")
        ]
    (run,) = (path for path in small_run.results.iterdir() if not path.is_symlink())
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["arguments"]["turns"], manifest["unattended"]) == (3, ["nightly"])
    records = read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist()
    assert {r["scenario"] for r in records if r["lane"] == Lane.LOAD} == {"nightly"}
    assert {len(messages) for messages in sent if messages[0]["role"] == "system"} == {2, 4, 6}
    # No first token came within a microsecond: the objective for it does not apply to an unattended scenario.
    findings = json.loads((run / "report/verdict.json").read_text())["findings"]
    assert {f["name"]: f["status"] for f in findings} == {
        "goodput": "pass",
        "restored": "pass",
        "run": "pass",
    }


def test_what_a_scenario_cannot_use_is_refused_before_anything_is_sent(project, tmp_path):
    with Server([GOOD]) as gateway:
        small_run = SmallRun(tmp_path, gateway)
        done = locust(project, small_run, "--scenarios", "nightly", "--turns", "0")
        assert (done.returncode, gateway.requests) == (EXIT_BAD_INPUT, [])
    assert "--turns: 0 is not a conversation; give 1 or more" in done.stdout


def locust(project: Path, small_run: SmallRun, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "locust", "-f", "locustfile.py", "--headless", "--only-summary", "--loglevel", "WARNING",
            "--topology", str(small_run.topology), "--timeline", str(small_run.timeline), "--results", str(small_run.results),
            "--users", "2", "--spawn-rate", "2", "--stop-timeout", "10", *more,
        ],
        cwd=project, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90,
    )  # fmt: skip

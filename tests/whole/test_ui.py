"""Locust's web UI: Start opens a run with its faults, the timeline's end closes it and reports, and the UI stays."""

import json
import os
import signal
import socket
import urllib.parse
import urllib.request

import pytest

from contract.run import read_manifest
from tests.chaos.stand import until
from tests.whole.stack import SHORT, latest, locust


@pytest.mark.verify
def test_start_in_the_web_ui_makes_a_run_and_a_report_and_may_be_pressed_again(stack, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "short.yaml").write_text(SHORT)
    results = tmp_path / "results"
    process = locust(
        stack.path,
        tmp_path / "short.yaml",
        results,
        "--web-host",
        "127.0.0.1",
        "--web-port",
        str(port),
        headless=False,
    )

    def get(path: str, form: bytes | None = None) -> str | None:
        try:
            # Locust answers /stop when all has stopped: the users have finished, chaos has mended, the report is made.
            with urllib.request.urlopen(url + path, form, timeout=90) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def swarm() -> None:
        form = urllib.parse.urlencode({"user_count": 6, "spawn_rate": 6}).encode()
        with urllib.request.urlopen(f"{url}/swarm", form, timeout=10) as answer:
            assert json.load(answer)["success"]

    try:
        page = until(lambda: get("/"), "the web UI answers", 30)
        assert "three_tier" in page or "timeline" in page
        swarm()
        until(lambda: (results / "latest").exists(), "a run was opened", 30)
        first = latest(results)
        until(lambda: "verdict_exit_code" in read_manifest(first), "the run was reported", 90)
        assert read_manifest(first)["status"] == "finished"
        assert read_manifest(first)["verdict_exit_code"] == 0
        assert until(lambda: get("/stats/requests"), "the web UI is still there", 15)
        assert json.loads(get("/stats/requests"))["state"] == "stopped"
        stack.calm()
        swarm()
        until(lambda: latest(results) != first, "a second run was opened", 30)
        second = latest(results)
        until(lambda: (second / "chaos.jsonl").exists(), "chaos has started", 30)
        assert json.loads(get("/stop", b""))["success"]
        until(lambda: "verdict_exit_code" in read_manifest(second), "the second run was reported", 60)
        assert read_manifest(second)["reason"] == "signal: stopped before the end of the timeline"
    finally:
        os.kill(process.pid, signal.SIGTERM)
        print(process.communicate(timeout=60)[0])

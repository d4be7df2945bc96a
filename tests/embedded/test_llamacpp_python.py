"""llama.cpp's Python server from the harness's view, and behind a real LiteLLM. Skipped if it is not installed.

    LLAMA_CPP_PYTHON=<a Python that has llama-cpp-python[server]> make verify

`tests/embedded/llamacpp_python.py` has the installation; it needs a compiler, so no make target does it.
"""

import json
import os
import random
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from embedded import gateway
from embedded.ports import free_port
from tests.chaos.stand import until
from tests.embedded.llamacpp_python import PythonServer, needs_it, python_server
from tests.whole.client import ClientProcess

pytestmark = [pytest.mark.verify, pytest.mark.timeout(600), needs_it]

LONG = 3000
KEPT = ("--interrupt_requests", "false")
HELD = {"first_token": 150.0, "silence": 100.0, "whole": 180.0}


class Streaming:
    """A stream directly from the server, of which some bytes have arrived."""

    def __init__(self, server: PythonServer, max_tokens: int = LONG) -> None:
        body = {"messages": [{"role": "user", "content": "Count."}], "max_tokens": max_tokens, "stream": True}
        self._response = server.request("/v1/chat/completions", body, **{"Content-Type": "application/json"})
        assert self._response.status == 200
        for _ in range(20):
            self._response.readline()

    def rest(self) -> tuple[str | None, bool]:
        """(finish_reason, whether [DONE] came), once it has ended."""
        finish, done = None, False
        for line in map(bytes.decode, map(bytes.strip, iter(self._response.readline, b""))):
            if line.startswith("data: {"):
                finish = json.loads(line[6:])["choices"][0]["finish_reason"] or finish
            done = done or line == "data: [DONE]"
        self._response.close()
        return finish, done


@pytest.fixture(scope="module")
def usual() -> Iterator[PythonServer]:
    """With default settings."""
    with python_server() as found:
        yield found


def run_client(
    server: PythonServer, folder: Path, *requests: dict[str, Any], **more: Any
) -> list[dict[str, Any]]:
    path = server.topology(folder)
    return ClientProcess(path, [{"via": "llamacpp", **request} for request in requests], **more).records()


@pytest.mark.parametrize("stream", [True, False])
def test_a_whole_answer_is_ok_and_its_end_was_known_beforehand(usual, tmp_path, stream):
    (record,) = run_client(usual, tmp_path, {"stream": stream, "max_tokens": 50})
    assert (record["outcome"], record["witness"], record["finish_reason"]) == ("ok", "end", "length")
    assert record["output_tokens"] == (None if stream else 50)  # its streams have no usage


def test_it_answers_to_any_name_and_has_neither_health_nor_metrics(usual):
    assert usual.request_json("/v1/models")[1]["data"][0]["id"] == "m"
    body = {"model": "other", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 2}
    assert usual.request_json("/v1/chat/completions", body, **{"Content-Type": "application/json"})[0] == 200
    assert [usual.request(path).status for path in ("/health", "/metrics", "/openapi.json")] == [
        404,
        404,
        200,
    ]


def test_the_next_request_cuts_the_running_answer_which_ends_with_done(usual):
    first = Streaming(usual)
    second = Streaming(usual, max_tokens=30)
    assert first.rest() == (None, True)
    assert second.rest() == ("length", True)


def test_the_list_of_models_cuts_the_running_answer_and_the_health_page_does_not(
    usual,
):
    stream = Streaming(usual)
    assert usual.request("/openapi.json").status == 200
    assert usual.request("/v1/models").status == 200
    assert stream.rest() == (None, True)
    stream = Streaming(usual, max_tokens=300)
    assert usual.request("/openapi.json").status == 200
    assert stream.rest() == ("length", True)


def test_a_prompt_too_long_is_400_and_streamed_an_empty_200(usual, tmp_path):
    requests = [{"stream": stream, "prompt": "through " * 9000, "max_tokens": 5} for stream in (False, True)]
    plain, streamed = sorted(run_client(usual, tmp_path, *requests), key=lambda r: r["stream"])
    assert (plain["outcome"], plain["status"]) == ("rejected", 400)
    assert (streamed["outcome"], streamed["status"]) == ("broken", 200)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whichever_signal_ends_it_its_streams_end_at_once_and_without_an_end(tmp_path, number):
    with python_server() as server:
        stream = Streaming(server)
        server.process.send_signal(number)
        assert stream.rest() == (None, False)
        server.process.wait(30)


def test_without_interrupts_the_next_request_waits_with_headers_at_once(tmp_path):
    with python_server(*KEPT) as server:
        requests = [{"stream": True, "max_tokens": 400}, {"stream": True, "max_tokens": 400}]
        records = run_client(server, tmp_path, *requests, at_once=2, deadlines=HELD)
        assert [r["outcome"] for r in records] == ["ok", "ok"]
        first, second = sorted(records, key=lambda r: r["ttft_ms"])
        assert second["ttft_ms"] > first["latency_ms"] / 2
        assert second["headers_ms"] < second["ttft_ms"] / 2


@contextmanager
def behind_a_gateway(server: PythonServer, folder: Path) -> Iterator[Path]:
    """A real LiteLLM with one tier; yields its topology."""
    port, key = free_port(random.Random()), "sk-of-the-tests"
    os.environ["LITELLM_MASTER_KEY"] = key
    config, path = folder / "litellm.yaml", folder / "gateway.yaml"
    params = {
        "model": "openai/m",
        "api_base": f"http://127.0.0.1:{server.port}/v1",
        "api_key": "none",
        "timeout": 120,
    }
    config.write_text(yaml.safe_dump({
        "model_list": [{"model_name": "g", "litellm_params": params}],
        "litellm_settings": {"request_timeout": 120, "num_retries": 0, "telemetry": False},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }))  # fmt: skip
    front = {"url": f"http://127.0.0.1:{port}", "model": "g", "api_key": "${LITELLM_MASTER_KEY}"}
    path.write_text(
        yaml.safe_dump({"gateway": front, "tiers": [{"name": "python", "match": {"group": "g"}}]})
    )
    with (folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            gateway.command(config, port, folder / "litellm.pid"),
            env={**os.environ, **gateway.ENVIRONMENT},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: _ready(port), "the gateway is up", 250)
        yield path
    finally:
        process.kill()
        process.wait()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{gateway.READY}", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.shows(
    "llamacpp",
    "make soak TOPOLOGY=topologies/llamacpp_hosts.yaml TIMELINE=chaos/timelines/units.yaml",
    on="real engine + real LiteLLM",
)
@pytest.mark.parametrize("parameters", [(), KEPT])
def test_behind_a_gateway_an_interrupted_answer_looks_whole_and_is_a_cut(tmp_path, parameters):
    with python_server(*parameters) as server, behind_a_gateway(server, tmp_path) as path:
        request = {"stream": True, "max_tokens": 400, "repeat": 3}
        records = ClientProcess(path, [request], at_once=3, deadlines=HELD).records(within_s=250)
        interrupted = [r for r in records if r["outcome"] != "ok"]
        assert len(interrupted) in ((0,) if parameters else (1, 2))  # the last request may finish
        for record in records:
            if record["outcome"] in (
                "ok",
                "cut",
            ):  # a request interrupted before its first token is neither
                assert (record["status"], record["tier"]) == (200, "python")
                assert record["finish_reason"] == ("stop" if record["outcome"] == "cut" else "length")

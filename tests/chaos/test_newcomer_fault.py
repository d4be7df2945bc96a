"""A fault is one file: used from YAML to the report, restored by the record alone."""

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.__main__ import main as analysis
from chaos import faults, plan
from chaos.__main__ import main as chaos
from chaos.state_folder import default_folder
from chaos.target import Handle, Target
from chaos.undo import restorer
from chaos.undo.deputy import Deputy
from chaos.undo.journal import Journal, Undo
from contract import topology
from contract.clock import Clock
from contract.refusal import Refusal
from contract.run import FINISHED, Run, open_run
from tests.chaos.elsewhere import restored
from tests.chaos.newcomers import TIMELINE, bound, record_of
from tests.contract.exchanges import head
from tests.ports import held_port
from tests.scenarios.server import Server

KEY, TENANT = "the-key-of-the-tests", "the-tenant-of-the-tests"
PAUSE = '''
"""Pauses its target: POST /pause, until POST /resume."""

from chaos.errors import CannotInject
from chaos.fault import Deadman, Fault


class Pause(Fault):
    kinds = ("engine",)
    deadman = Deadman.GUARDIAN
    by_http = True

    def __init__(self, cluster, target, options):
        self._target = target

    def snapshot(self):
        if self._send("GET", "/state") != "serves":
            raise CannotInject("it is paused already")
        return {"original": "serves", "set": "paused"}

    def inject(self, state):
        self._send("POST", "/pause")

    def effective(self, state):
        return {"state": "paused"} if self._send("GET", "/state") == "paused" else None

    def restore(self, state):
        self._send("POST", "/resume")

    def restored(self, state):
        return {"state": "serves"} if self._send("GET", "/state") == "serves" else None

    def _send(self, method, path):
        status, body = self._target.send(method, path, 5.0)
        if status != 200:
            raise OSError(f"{method} {path}: status {status}: {body}")
        return body["state"]


FAULT = Pause
'''
TOPOLOGY = """
gateway: {{url: "http://127.0.0.1:{port}", model: m}}
tiers:
  - {{name: vllm, match: {{group: m}}, url: "{url}/v1", model: m, api_key: "${{VLLM_KEY}}", headers: {{X-Tenant: "${{TENANT}}"}},
     handles: {{engine: true, unprotected: true}}}}
"""


class Pausing:
    """An engine that pauses on request; every path needs a key. `during`: the journal's records when it paused."""

    def __init__(self) -> None:
        self.state, self.during = "serves", list[str]()
        self.requests: list[tuple[str, str | None, str | None]] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"] or 0))
                self._answer()

            def _answer(self) -> None:
                key = self.headers["authorization"]
                engine.requests.append((self.path, key, self.headers["x-tenant"]))
                if key != f"Bearer {KEY}":
                    self._reply(401, {"error": f"no such key: {key}"})
                elif self.path == "/v1/chat/completions":
                    whole = {
                        "choices": [{"index": 0, "message": {"content": "1 2"}, "finish_reason": "length"}]
                    }
                    self._reply(200, whole) if engine.state == "serves" else self._reply(503, {})
                else:
                    engine.handle(self.path)
                    self._reply(200, {"state": engine.state, "seen": [key]})

            def _reply(self, status: int, body: dict[str, Any]) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle(self, path: str) -> None:
        if path == "/pause":
            self.state = "paused"
            self.during = [record.read_text() for record in default_folder().glob("*.json")]
        elif path == "/resume":
            self.state = "serves"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def engine(state_home, monkeypatch):
    monkeypatch.setenv("VLLM_KEY", KEY)
    monkeypatch.setenv("TENANT", TENANT)
    found = Pausing()
    yield found
    found.close()


@pytest.fixture
def stack(engine, tmp_path):
    path = tmp_path / "topology.yaml"
    path.write_text(TOPOLOGY.format(url=engine.url, port=held_port()))
    return path


def secrets_in(*texts: str) -> list[str]:
    return [secret for secret in (KEY, TENANT) for text in texts if secret in text]


def test_a_fault_that_speaks_http_is_used_from_yaml_to_the_report(
    member, engine, stack, run_here, tmp_path, capsys
):
    """It took one file: the fault's. Its address, key, headers and authority are the topology's."""
    member(faults, "pause", PAUSE)
    made = open_run(
        tmp_path / "results", "pause", time.time(), {"topology.yaml": stack.read_text(), "timeline.yaml": TIMELINE}, {}, 1
    )  # fmt: skip
    folder = made.path.rename(tmp_path / "run")
    code, events = run_here(SimpleNamespace(write_topology=lambda: stack), text=TIMELINE)
    assert code == 0
    assert [f"{e['move']} {e['stage']}" for e in events] == [
        "inject begin", "inject commanded", "inject effective", "restore begin", "restore commanded", "restore effective",
    ]  # fmt: skip
    assert events[-1]["detail"] == {"state": "serves", "answered": "yes"}
    assert {("/pause", f"Bearer {KEY}", TENANT), ("/resume", f"Bearer {KEY}", TENANT)} <= {*engine.requests}
    (record,) = engine.during
    assert Undo.of_json(record).server == {"url": engine.url, "api": "openai", "api_key": "VLLM_KEY", "headers": {"X-Tenant": "${TENANT}"}}  # fmt: skip
    Run(folder, made.manifest).close(FINISHED, time.time(), None, {})
    chaos(["plan", "--topology", str(stack), "--timeline", str(tmp_path / "long.yaml")])
    planned = capsys.readouterr().out
    assert f"pause on engine {engine.url}" in planned
    analysis(["report", str(folder)])
    out = capsys.readouterr().out
    findings = json.loads((folder / "report/verdict.json").read_text())["findings"]
    assert [(c["status"], c["measured"]) for c in findings if c["name"] == "restored"] == [("pass", "1 of 1")]
    kept = [p.read_text(errors="replace") for p in folder.rglob("*") if p.is_file()]
    assert secrets_in(record, planned, out, *kept) == []


def test_its_record_is_all_that_another_process_needs(member, engine, stack, tmp_path):
    """With the fault's file, and the key in the environment."""
    folder = member(faults, "pause", PAUSE)
    record = paused(stack, tmp_path)
    assert engine.state == "paused"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(restored, record, dict(os.environ), str(folder)).result(120) == {"state": "serves"}
    assert engine.state == "serves"
    assert secrets_in(record) == []


def test_where_the_key_is_not_in_the_environment_it_is_not_restored_and_reports_that(
    member, engine, stack, tmp_path, monkeypatch
):
    member(faults, "pause", PAUSE)
    record = paused(stack, tmp_path)
    monkeypatch.delenv("VLLM_KEY")
    done, line = by_deputy(record, journal=True)
    assert not done
    assert "VLLM_KEY is not set" in line
    assert engine.state == "paused"


def test_no_secret_is_sent_to_a_url_that_a_lease_alone_names(member, engine, stack, tmp_path, monkeypatch):
    """It is not trusted: anyone who may write Leases could have any environment variable sent anywhere."""
    member(faults, "pause", PAUSE)
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.02)
    record = paused(stack, tmp_path)
    engine.requests.clear()
    done, line = by_deputy(record, journal=False)
    assert not done
    assert "status 401" in line
    assert {(key, tenant) for _, key, tenant in engine.requests} == {(None, None)}
    done, _ = by_deputy(record, journal=False, stack=topology.read(stack))
    assert done
    assert engine.state == "serves"


@pytest.mark.parametrize("key", ["null", "1", "state", "serves"])
def test_a_key_that_is_a_word_of_the_answer_does_not_take_it_apart(key):
    with Server([head("200 OK", "content-length: 34") + b'{"state": 1, "x": null, "y": "a1"}']) as server:
        target = Target(
            "vllm", Handle("engine", server.url), server.url, headers={"Authorization": "Bearer ${K}"}
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("K", key)
            assert target.send("GET", "/", 5.0) == (200, {"state": 1, "x": None, "y": "a1"})


def test_where_a_key_is_missing_the_request_goes_without_and_a_refusal_names_it(monkeypatch):
    monkeypatch.delenv("K", raising=False)
    for status, answer in (("200 OK", (200, "")), ("401 Unauthorized", "status 401: .*K is not set")):
        with Server([head(status, "content-length: 0")]) as server:
            target = Target("vllm", Handle("engine", server.url), server.url, api_key="K")
            if isinstance(answer, tuple):
                assert target.send("DELETE", "/faults", 5.0) == answer
            else:
                with pytest.raises(OSError, match=answer):
                    target.send("DELETE", "/faults", 5.0)
        assert b"uthorization" not in server.requests[0]


def test_what_a_server_shows_of_a_key_is_not_kept(member, engine, stack, tmp_path, monkeypatch):
    member(faults, "pause", PAUSE)
    monkeypatch.setenv("VLLM_KEY", "another-key-of-the-tests")
    with pytest.raises(OSError, match=r"status 401: .*no such key: Bearer \(key\)") as e:
        made(bound(stack, tmp_path, TIMELINE)).snapshot()
    assert "another-key" not in str(e.value)


def test_a_fault_that_speaks_http_is_refused_where_the_target_has_no_url(member, tmp_path):
    member(faults, "pause", PAUSE.replace('("engine",)', '("process",)'))
    path = tmp_path / "topology.yaml"
    path.write_text(
        'gateway: {url: "http://127.0.0.1:1", model: m}\n'
        "tiers: [{name: vllm, match: {group: m}, handles: {process: {pidfile: /run/vllm.pid}}}]\n"
    )
    with pytest.raises(
        Refusal, match="pause sends requests to the tier, and the topology gives 'vllm' no url"
    ):
        bound(path, tmp_path, TIMELINE)


def made(step: plan.Bound):
    return faults.make(step.step.fault, None, step.on, step.step.with_)


def paused(stack: Path, tmp_path: Path) -> str:
    """Taken away by a run that is gone: the record as JSON."""
    step = bound(stack, tmp_path, TIMELINE)
    fault = made(step)
    undo = record_of(step, fault.snapshot())
    fault.inject(undo.state)
    return undo.to_json()


def by_deputy(record: str, journal: bool, stack: Any = None) -> tuple[bool, str]:
    undo, lines = Undo.of_json(record), list[str]()
    kept = Journal(default_folder())
    if journal:
        kept.open(undo)
    done = Deputy(undo, "restore", Clock(), lines.append, kept if journal else None, stack=stack).restore(0.5)
    return done, lines[-1]

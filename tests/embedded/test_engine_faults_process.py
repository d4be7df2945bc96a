"""Faults when the engine's process is ended, frozen or restarted."""

import signal
import time
from pathlib import Path

from tests.embedded.engine import DEADLINE_S, QUICK, chat, next_token, running, until
from tests.embedded.faults import PATH, SHORT_S, control, entry_of, open_request, put, send_request


def test_a_sigterm_releases_a_stalled_stream_which_ends_as_usual(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK, "--sigterm", "abort") as engine:
        put(engine, "stall")
        response = engine.request(PATH, chat("req-t-1", stream=True, max_tokens=50))
        next_token(response)
        engine.process.send_signal(signal.SIGTERM)
        assert b'"finish_reason":"abort"' in response.read()
        assert engine.process.wait(DEADLINE_S) == 0
        entry = engine.entries()[0]
    assert (entry.how, entry.written_tokens) == ("abort", 2)


def test_a_sigterm_closes_a_held_request(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK) as engine:
        put(engine, "no_response")
        with open_request(engine, PATH, chat("req-t-2")) as line:
            until(engine.entries)
            engine.process.send_signal(signal.SIGTERM)
            assert line.recv(1) == b""
        assert engine.process.wait(DEADLINE_S) == 0
        entry = engine.entries()[0]
    assert (entry.how, entry.fault) == ("no_response", "no_response")


def test_a_deadline_that_passes_in_a_freeze_has_passed_when_it_thaws(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK) as engine:
        active = put(engine, "rate_limit", for_s=SHORT_S)
        engine.process.send_signal(signal.SIGSTOP)
        # Sent while it is frozen; read in the loop iteration in which the timer is overdue.
        with open_request(engine, PATH, chat("req-z-1", max_tokens=1)) as line:
            until(lambda: time.time() > active["until"] + 0.1)
            engine.process.send_signal(signal.SIGCONT)
            assert line.recv(65536).startswith(b"HTTP/1.1 200")
        assert entry_of(engine, "req-z-1").fault is None


def test_a_restart_clears_the_fault(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK) as engine:
        put(engine, "rate_limit")
        assert send_request(engine).status == 429
    with running("vllm", tmp_path, *QUICK) as engine:
        assert control(engine, "GET")[1]["fault"] is None
        assert send_request(engine).status == 200

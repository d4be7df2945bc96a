"""How engines end, and what their clients see: the rows of the measured table in order."""

import http.client
import itertools
import signal
import time
from pathlib import Path

import pytest

from tests.embedded.engine import QUICK, SLOW, Running, chat, events, next_token, running

PATH = "/v1/chat/completions"
LONG = chat(stream=True, max_tokens=4000, stream_options={"include_usage": True})


@pytest.mark.parametrize("personality", ["vllm", "ollama", "cloud"])
def test_a_sigkill_ends_a_stream_without_a_finish_and_the_ledger_shows_it_as_never_ended(
    personality: str, tmp_path: Path
) -> None:
    with running(personality, tmp_path, *SLOW) as engine:
        response = engine.request(PATH, LONG, authorization="Bearer k")
        next_token(response)
        engine.process.kill()
        with pytest.raises(http.client.IncompleteRead) as truncated:
            response.read()
        assert b"[DONE]" not in truncated.value.partial
        assert b'"finish_reason":"' not in truncated.value.partial
        entry = engine.entries()[0]
        assert entry.nonce == "req-1-1"
        assert (entry.how, entry.ended_at, entry.ending) == (None, None, None)
        assert entry.begun_at is not None


@pytest.mark.parametrize(
    ("personality", "frozen_s", "joins"), [("vllm", 1.6, True), ("vllm", 0.5, False), ("ollama", 1.6, False)]
)
def test_after_a_freeze_overdue_tokens_come_at_once_and_from_vllm_in_one_chunk(
    personality: str, frozen_s: float, joins: bool, tmp_path: Path
) -> None:
    with running(personality, tmp_path, *SLOW) as engine:
        response = engine.request(PATH, LONG | {"max_tokens": 120})
        next_token(response)
        engine.process.send_signal(signal.SIGSTOP)
        time.sleep(frozen_s)
        engine.process.send_signal(signal.SIGCONT)
        *_, usage, done = events(response)
        assert (usage["usage"]["completion_tokens"], done) == (120, "[DONE]")
        entry = engine.ended(1)[0]
    chunks, started_at = entry.chunks, entry.started_at
    assert started_at is not None
    assert (entry.how, entry.written_tokens, len(chunks) + entry.joined) == ("length", 120, 120)
    gaps = [later - earlier for earlier, later in itertools.pairwise(chunks)]
    longest = max(gaps)
    assert longest > frozen_s * 0.9
    # At least half of the freeze's tokens became due in it; half a gap's length separates overdue tokens from those that
    # were on time.
    after = gaps[gaps.index(longest) + 1 :]
    due = int(frozen_s / 0.02 / 2)
    assert (
        entry.joined >= due if joins else (entry.joined, sum(gap < 0.01 for gap in after) >= due) == (0, True)
    )
    if not joins and personality == "vllm":
        # No token is early, with or without a freeze.
        assert all(at >= started_at + 0.02 * n for n, at in enumerate(chunks))


def kept(engine: Running) -> http.client.HTTPConnection:
    connection = engine.send("/v1/models")
    connection.getresponse().read()
    # One more answer: by then the engine has completed the first one.
    engine.request("/v1/models").read()
    return connection


def test_vllm_closes_an_idle_connection_and_resets_one_with_a_request_after_a_freeze_of_that_length(
    tmp_path: Path,
) -> None:
    with running("vllm", tmp_path, *QUICK, "--http-timeout-keep-alive", "1500ms") as engine:
        assert kept(engine).sock.recv(1) == b""
        idle, client = kept(engine), kept(engine)
        engine.process.send_signal(signal.SIGSTOP)
        client.request("GET", "/v1/models")
        time.sleep(1.6)
        engine.process.send_signal(signal.SIGCONT)
        with pytest.raises(ConnectionResetError) as reset:
            client.getresponse()
        assert not isinstance(reset.value, http.client.RemoteDisconnected)
        assert idle.sock.recv(1) == b""


@pytest.mark.parametrize(
    ("personality", "path"), [("ollama", "/api/chat"), ("ollama", PATH), ("cloud", PATH)]
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_sigterm_of_the_others_closes_without_a_proper_end(
    personality: str, path: str, stream: bool, tmp_path: Path
) -> None:
    with running(personality, tmp_path, *SLOW) as engine:
        body = LONG | {"stream": stream, "options": {"num_predict": 4000}}
        if personality == "cloud":
            del body["options"]
        beside = engine.request(path, body | {"stream": True}, authorization="Bearer k")
        beside.readline()
        connection = engine.send(path, body, authorization="Bearer k")
        if stream:
            response = connection.getresponse()
        engine.process.send_signal(signal.SIGTERM)
        with pytest.raises(
            (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionResetError)
        ):
            (response if stream else connection.getresponse()).read()
        assert not engine.accepts()
        assert engine.process.wait() == 0
        assert {entry.how for entry in engine.entries()} == {"abort"}


@pytest.mark.parametrize("personality", ["vllm", "ollama", "cloud"])
def test_a_sigterm_without_running_answers_ends_the_process_and_the_kept_connections(
    personality: str, tmp_path: Path
) -> None:
    with running(personality, tmp_path, *QUICK) as engine:
        connection = engine.send("/v1/models")
        connection.getresponse().read()
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait() == 0
        assert connection.sock.recv(1) == b""


@pytest.mark.parametrize(("personality", "at_once"), [("vllm", True), ("ollama", False), ("cloud", False)])
def test_with_every_slot_busy_vllm_sends_headers_and_the_others_send_nothing(
    personality: str, at_once: bool, tmp_path: Path
) -> None:
    with running(personality, tmp_path, *SLOW, "--max-num-seqs", "1") as engine:
        first = engine.request(PATH, LONG, authorization="Bearer k")
        next_token(first)
        second = engine.send(PATH, LONG | {"max_tokens": 2}, authorization="Bearer k")
        second.sock.settimeout(30.0 if at_once else 0.3)
        if at_once:
            assert second.sock.recv(12) == b"HTTP/1.1 200"
        else:
            with pytest.raises(TimeoutError):
                second.sock.recv(1)
        second.sock.settimeout(30.0)
        # The first client disconnects, and the second gets the slot.
        first.close()
        assert b"[DONE]" in read_all(second)
        one, two = engine.ended(2)
        assert (one.how, two.how) == ("gone", "length")
        assert two.started_at is not None
        assert two.started_at >= two.arrived_at


def read_all(connection: http.client.HTTPConnection) -> bytes:
    received = b""
    while not received.endswith(b"\r\n0\r\n\r\n"):
        more = connection.sock.recv(65536)
        assert more, "the connection ended before the answer did"
        received += more
    return received


@pytest.mark.parametrize(
    ("personality", "path", "stream", "status", "words"),
    [
        ("vllm", PATH, False, 503, "currently busy"),
        ("vllm", PATH, True, 503, "currently busy"),
        ("ollama", PATH, True, 503, "server busy"),
        ("ollama", "/api/chat", False, 503, "server busy"),
        ("ollama", "/api/chat", True, 503, "server busy"),
        ("cloud", PATH, True, 429, "Rate limit"),
    ],
)
def test_beyond_the_queue_each_engine_refuses_in_its_own_way(
    personality: str, path: str, stream: bool, status: int, words: str, tmp_path: Path
) -> None:
    with running(
        personality, tmp_path, *SLOW, "--max-num-seqs", "1", "--max-waiting-queue-length", "0"
    ) as engine:
        first = engine.request(PATH, LONG, authorization="Bearer k")
        next_token(first)
        response = engine.request(path, chat(stream=stream), authorization="Bearer k")
        assert response.status == status
        assert "retry-after" not in response.headers
        assert words in response.read().decode()
        refused = engine.ended(1)[1]
        assert (refused.how, refused.status) == ("refused", status)


def test_a_client_that_disconnects_while_waiting_leaves_the_queue(tmp_path: Path) -> None:
    with running("ollama", tmp_path, *SLOW, "--max-num-seqs", "1") as engine:
        first = engine.request(PATH, LONG)
        next_token(first)
        engine.send(PATH, LONG).close()
        gone = engine.ended(1)[1]
        assert (gone.how, gone.started_at, gone.status) == ("gone", None, None)
        # The slot still goes to the next request.
        third = engine.send(PATH, LONG | {"max_tokens": 1})
        first.close()
        assert b"[DONE]" in read_all(third)

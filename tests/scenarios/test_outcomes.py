"""Each outcome provoked on the wire, by a server that does it; one record per request."""

import gevent
import pytest

from contract.records import Outcome
from contract.request import Request
from scenarios.gateway.sender import Sender
from tests.contract.exchanges import (
    DONE,
    ROLE,
    WHOLE,
    chunked,
    event,
    finish,
    head,
    plain,
    streamed,
    token,
    usage,
)  # fmt: skip
from tests.ports import held_port
from tests.scenarios.server import CLOSE, HANG, RST, Server
from tests.scenarios.user_contexts import kept, user_context

HEAD = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: b")
ERROR = event({"error": {"message": "upstream died"}})
ANSWER = {
    "choices": [{"message": {"content": "hi"}, "finish_reason": "length"}],
    "usage": {"completion_tokens": 5},
}


def _begun(*parts: bytes) -> bytes:
    return HEAD + chunked(*parts, last=False)


CASES = {
    # description: script, outcome, words of the error, witness
    "at the cap": ([streamed(*WHOLE)], "ok", None, "end"),
    "byte by byte": ([bytes([b]) for b in streamed(*WHOLE)], "ok", None, "end"),
    "reported as stop": ([streamed(token(), finish("stop"), usage(5), DONE)], "ok", None, "usage"),
    "a body that FIN ends": ([head() + b"".join(WHOLE), CLOSE], "ok", None, "end"),
    "plain": ([plain(ANSWER)], "ok", None, "end"),
    "400": ([plain({"error": "no"}, "400 Bad")], "rejected", "400: no", None),
    "503": ([plain(b"away", "503 No")], "rejected", "503: away", None),
    "content policy": ([plain({"error": {"code": "content_filter"}}, "400 Bad")], "filtered", "400", None),
    "FIN before the headers": ([CLOSE], "broken", "connection closed", None),
    "RST before the headers": ([RST], "broken", "ConnectionResetError", None),
    "RST before a token": ([_begun(ROLE), 0.05, RST], "broken", "ConnectionResetError", None),
    "error event before a token": ([_begun(ROLE, ERROR) + chunked(DONE)], "broken", "upstream died", None),
    "no HTTP": ([b"SSH-2.0-x\r\n\r\n"], "broken", "not HTTP", None),
    "FIN mid-stream": ([_begun(ROLE, token()), CLOSE], "cut", "connection closed", None),
    "RST mid-stream": ([_begun(ROLE, token()), 0.05, RST], "cut", "ConnectionResetError", None),
    "error in band": ([_begun(token(), ERROR) + chunked()], "cut", "upstream died", None),
    "error in band and [DONE]": ([_begun(token(), ERROR, DONE) + chunked()], "cut", "upstream died", None),
    "abort": ([streamed(token(), finish("abort"), usage(5), DONE)], "cut", "abort", None),
    "stop below the cap": ([streamed(token(), finish("stop"), usage(2), DONE)], "cut", "stop at 2 of 5", None),
    "silence after a token": ([_begun(token()), HANG], "stalled", "silent for 0.4 s", None),
    "no answer": ([HANG], "timeout", "no first token in 0.5 s", None),
    "headers and no token": ([_begun(ROLE), HANG], "timeout", "no first token in 0.5 s", None),
    "pings and no token": ([HEAD, *[0.1, chunked(b": ping\n\n", last=False)] * 8, HANG], "timeout",
                           "no first token", None),
    "tokens without end": ([HEAD, *[0.05, chunked(token(), last=False)] * 80], "stalled", "not whole in 2 s", None),
}  # fmt: skip


@pytest.fixture(scope="module")
def records():
    """One request per case, all at the same time."""
    servers = {name: Server(script) for name, (script, *_) in CASES.items()}
    user_contexts, requests = {}, []
    for name, server in servers.items():
        server.__enter__()
        user_contexts[name] = user_context(server.url)
        sender = Sender(user_contexts[name], "test", lambda record, body: None)
        requests.append(gevent.spawn(sender.send, Request(prompt="hi", stream=True)))
    gevent.joinall(requests, timeout=20, raise_error=True)
    for server in servers.values():
        server.__exit__()
    return {name: kept(s) for name, s in user_contexts.items()}


@pytest.mark.parametrize("name", CASES)
def test_each_kind_of_end_has_its_outcome_and_one_record(records, name):
    _, outcome, error, witness = CASES[name]
    [record] = records[name]
    assert (record.outcome, record.witness) == (outcome, witness)
    assert (error or "") in (record.error or "")
    assert (error is None) == (record.error is None)
    assert record.sent_at is not None
    assert record.latency_ms is not None


@pytest.mark.parametrize(("name", "least_ms", "most_ms"), [
    ("no answer", 500, 1100), ("pings and no token", 500, 1100), ("silence after a token", 400, 1000),
    ("tokens without end", 2000, 2700),
])  # fmt: skip
def test_a_deadline_passes_within_a_few_looks_of_the_watchdog(records, name, least_ms, most_ms):
    assert least_ms <= records[name][0].latency_ms < most_ms


def test_an_answer_names_its_tier(records):
    assert records["FIN mid-stream"][0].tier == "ollama"
    assert records["503"][0].tier is None


def test_a_port_without_a_listener_is_refused():
    s = user_context(f"http://127.0.0.1:{held_port()}")
    record = Sender(s, "test", lambda record, body: None).send(Request(prompt="hi", stream=True))
    assert (record.outcome, record.error.split(":")[0]) == (Outcome.REFUSED, "ConnectionRefusedError")
    assert kept(s) == [record]


def test_a_name_that_no_lookup_takes_is_refused():
    s = user_context("http://no..name:1")
    assert (
        Sender(s, "test", lambda record, body: None).send(Request(prompt="hi", stream=True)).outcome
        == Outcome.REFUSED
    )


@pytest.mark.parametrize(("script", "tokens"), [([HANG], False), ([_begun(token()), HANG], True)])
def test_a_killed_request_is_abandoned_once_and_the_kill_is_raised(script, tokens):
    with Server(script) as server:
        s, reported = user_context(server.url), []
        sender = Sender(s, "test", lambda record, body: reported.append((record, body)))
        sending = gevent.spawn(sender.send, Request(prompt="hi", stream=True))
        gevent.sleep(0.25)
        assert s.recorder.tally.snapshot().in_flight == 1
        sending.kill()
        [record] = kept(s)
    assert isinstance(sending.value, gevent.GreenletExit)
    assert record.outcome == Outcome.ABANDONED
    assert (record.ttft_ms is not None) == tokens
    assert [a for a, _ in reported] == [record]
    assert s.recorder.tally.snapshot().in_flight == 0


def test_a_request_killed_while_connecting_was_never_sent(monkeypatch):
    s = user_context("http://127.0.0.1:1")
    monkeypatch.setattr("gevent.socket.create_connection", lambda address: gevent.sleep(5))
    sending = gevent.spawn(
        Sender(s, "test", lambda record, body: None).send, Request(prompt="hi", stream=True)
    )
    gevent.sleep(0.05)
    sending.kill()
    assert [(a.outcome, a.sent_at, a.error) for a in kept(s)] == [
        ("abandoned", None, "stopped while connecting")
    ]


def test_a_connection_that_does_not_come_about_is_refused_in_time(monkeypatch):
    s = user_context("http://127.0.0.1:1")
    monkeypatch.setattr("gevent.socket.create_connection", lambda address: gevent.sleep(5))
    record = Sender(s, "test", lambda record, body: None).send(Request(prompt="hi", stream=True))
    assert (record.outcome, record.error) == (Outcome.REFUSED, "TimeoutError: no connection in 1 s")
    assert 1000 <= record.latency_ms < 1700


def test_our_own_error_is_recorded_as_broken_and_raised(monkeypatch):
    s = user_context("http://127.0.0.1:1")
    monkeypatch.setattr("scenarios.gateway.wire.exchange.Connection.exchange", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Sender(s, "test", lambda record, body: None).send(Request(prompt="hi", stream=True))
    [record] = kept(s)
    assert (record.outcome, record.error) == ("broken", "in the harness: ZeroDivisionError: division by zero")


def test_only_a_direct_request_to_a_tier_that_supports_it_has_ignore_eos():
    with Server([streamed(*WHOLE)]) as server:
        s = user_context(server.url, vllm=server.url, ollama=server.url)
        sender = Sender(s, "test", lambda record, body: None)
        requests = [
            sender.send(Request(prompt="hi", stream=True, via=via)) for via in ("gateway", "vllm", "ollama")
        ]
        assert [b"ignore_eos" in request for request in server.requests] == [False, True, False]
        for record, request in zip(requests, server.requests, strict=True):
            assert f'"content": "{record.request_id} hi"'.encode() in request
    assert [a.tier for a in requests] == [None, "vllm", "ollama"]
    assert [a.request_id for a in requests] == [f"req-3f9c01-{n:06x}" for n in (1, 2, 3)]

"""Exactly one record per request in all cases: killed in any phase, our own errors, a closed recorder."""

import dataclasses
import json
import logging

import gevent
import pytest

from contract.deadlines import Deadlines
from contract.request import Request
from contract.schemas import REQUESTS, columns
from contract.topology import Topology
from scenarios.gateway.sender import Sender
from scenarios.gateway.user_context import endpoints
from tests.contract.exchanges import ROLE, WHOLE, chunked, head, plain, streamed, token
from tests.scenarios.server import HANG, Server
from tests.scenarios.user_contexts import kept, user_context

HEAD = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: b")
WITHIN_S = 10.0
LONG = Deadlines(connect=30, first_token=30, silence=30, whole=60)


def _spawn(sender, **how):
    return gevent.spawn(sender.send, Request(prompt="hi", stream=True, **how))


def _one(found):
    """The one record, which can be written; nothing is left in flight."""
    records = kept(found)
    columns(records, REQUESTS)
    assert found.recorder.tally.snapshot().in_flight == 0
    assert len(records) == found.recorder.tally.snapshot().sent
    [record] = records
    return record


def _until(sending, arrived):
    with gevent.Timeout(WITHIN_S):
        while not arrived():
            assert not sending.dead, sending.value
            gevent.sleep(0.01)


def test_the_cap_is_that_of_the_target_and_secrets_are_removed_from_an_error(monkeypatch):
    monkeypatch.setenv("TEST_SSO", "s3cret-of-the-proxy")
    echo = plain({"error": {"message": "bad token s3cret-of-the-proxy"}}, "403 Forbidden")
    with Server([echo]) as server:
        words = {"headers": {"X-Sso": "${TEST_SSO}"}}
        data = {
            "gateway": {"url": server.url, "model": "a", "max_tokens": 50, **words},
            "tiers": [
                {"name": "vllm", "match": {"group": "a"}, "url": server.url, "model": "m", "max_tokens": 400,
                 "max_tokens_field": "max_completion_tokens", **words},
            ],
        }  # fmt: skip
        front, tiers = endpoints(found := Topology.model_validate(data))
        one = dataclasses.replace(user_context(server.url), topology=found, gateway=front, tiers=tiers)
        sender = Sender(one, "test", lambda record, body_bytes: None)
        for via in ("gateway", "vllm"):
            sender.send(Request(prompt="hi", stream=False, via=via))
        sender.close()
    bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]
    assert [(b.get("max_tokens"), b.get("max_completion_tokens")) for b in bodies] == [
        (50, None),
        (None, 400),
    ]
    assert all(b"\r\nX-Sso: s3cret-of-the-proxy" in request for request in server.requests)
    assert [(r.max_tokens, r.error) for r in kept(one)] == [
        (50, "403: bad token (key)"),
        (400, "403: bad token (key)"),
    ]


def test_a_request_that_is_killed_in_an_errors_body_keeps_no_secret_of_it(monkeypatch):
    monkeypatch.setenv("TEST_KEY", "s3cret-of-the-gateway")
    cut = plain(b"no access for s3cret-of-the-gateway", "401 Unauthorized", length=99)
    with Server([cut, HANG]) as server:
        data = {
            "gateway": {"url": server.url, "model": "a", "api_key": "${TEST_KEY}"},
            "tiers": [{"name": "vllm", "match": {"group": "a"}}],
        }
        front, tiers = endpoints(found := Topology.model_validate(data))
        one = user_context(server.url, deadlines=LONG)
        one = dataclasses.replace(one, topology=found, gateway=front, tiers=tiers)
        sender = Sender(one, "test", lambda record, body: None)
        sending = _spawn(sender)

        def arrived():
            return bool(server.requests) and bool(sender._connections["gateway"].latest.pieces)

        _until(sending, arrived)
        sending.kill()
    assert _one(one).error == "401: no access for (key)"


PHASES = {
    # script of the server; expected fields of the record
    "before the headers": ([HANG], None, None, False),
    "after half a header": ([b"HTTP/1.1 200 OK\r\nconte", HANG], None, None, False),
    "after the headers": ([HEAD, HANG], 200, "ollama", False),
    "after a role": ([HEAD + chunked(ROLE, last=False), HANG], 200, "ollama", False),
    "in mid-event": ([HEAD + chunked(token() + token()[:9], last=False), HANG], 200, "ollama", True),
    "in mid-stream": ([HEAD + chunked(token(), last=False), HANG], 200, "ollama", True),
    "before the last chunk": ([HEAD + chunked(*WHOLE, last=False), HANG], 200, "ollama", True),
    "in half a plain answer": ([plain({"choices": []})[:-3], HANG], 200, None, False),
    "in an error's body": ([plain(b"no", "500 No", length=9), HANG], 500, None, False),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kept_open", [False, True])
def test_a_killed_request_has_one_record(phase, kept_open):
    script, status, tier, tokens = PHASES[phase]
    before = [[streamed(*WHOLE)]] if kept_open else []
    with Server(*before, script) as server:
        found = user_context(server.url, deadlines=LONG)
        sender = Sender(found, "test", lambda record, body: None)
        if kept_open:
            sender.send(Request(prompt="hi", stream=True))
            assert len(kept(found)) == 1
        sending = _spawn(sender)
        body = status is not None and script[0] != HEAD

        def arrived():
            if len(server.requests) == len(before):
                return False
            latest = sender._connections["gateway"].latest
            return latest.status == status and (latest.pieces or not body)

        _until(sending, arrived)
        sending.kill()
        record = kept(found)[-1]
        assert len(kept(found)) == len(before) + 1
        assert found.recorder.tally.snapshot().in_flight == 0
        columns(kept(found), REQUESTS)
        assert isinstance(sending.value, gevent.GreenletExit)
        if status == 500:
            assert (record.outcome, record.status) == ("rejected", 500)
        else:
            assert (record.outcome, record.status, record.tier) == ("abandoned", status, tier)
        assert (record.ttft_ms is not None) == tokens
        assert record.sent_at is not None
        if kept_open:
            assert record.request_id != kept(found)[0].request_id


def test_a_request_killed_during_the_tls_handshake_was_never_sent(tmp_path):
    with Server([HANG]) as server:  # it speaks no TLS, and waits for a request that never comes
        found = user_context(server.url.replace("http", "https"), deadlines=LONG)
        sending = _spawn(Sender(found, "test", lambda record, body: None))
        _until(sending, lambda: server.connections)
        sending.kill()
    assert (_one(found).outcome, _one(found).sent_at) == ("abandoned", None)


def test_a_user_killed_between_two_requests_leaves_no_record_of_the_unsent_one():
    with Server([streamed(*WHOLE)]) as server:
        found = user_context(server.url)
        sender = Sender(found, "test", lambda record, body: None)

        def user():
            sender.send(Request(prompt="hi", stream=True))
            gevent.sleep(WITHIN_S)
            sender.send(Request(prompt="hi", stream=True))

        running = gevent.spawn(user)
        _until(running, lambda: kept(found))
        running.kill()
        never_begun = _spawn(sender)
        never_begun.kill()
    assert _one(found).outcome == "ok"


def _fails(*_, **__):
    raise ZeroDivisionError("by nought")


MISTAKES = {
    "in the request": "contract.endpoint.Endpoint.request",
    "in the connection": "scenarios.gateway.wire.exchange.Connection.exchange",
    "in the reading": "contract.outcome.read_answer",
    "in the judging": "contract.outcome.judge",
    "in the matching of a tier": "contract.topology.Topology.tier_of",
    "in the filling": "scenarios.gateway.sender.fill",
}


@pytest.mark.parametrize("place", MISTAKES)
def test_our_own_error_leaves_one_record_and_is_raised(place, monkeypatch):
    with Server([streamed(*WHOLE)]) as server:
        found, reported = user_context(server.url), []
        monkeypatch.setattr(MISTAKES[place], _fails)
        with pytest.raises(ZeroDivisionError):
            Sender(found, "test", lambda record, body: reported.append(record)).send(
                Request(prompt="hi", stream=True)
            )
    record = _one(found)
    assert (record.outcome, record.error, record.witness) == (
        "broken", "in the harness: ZeroDivisionError: by nought", None,
    )  # fmt: skip
    assert reported == [record]


@pytest.mark.parametrize("place", ["in the reading", "in the matching of a tier", "in the filling"])
def test_our_own_error_does_not_replace_a_kill(place, monkeypatch):
    with Server([HEAD + chunked(token(), last=False), HANG]) as server:
        found = user_context(server.url, deadlines=LONG)
        monkeypatch.setattr(MISTAKES[place], _fails)
        sender = Sender(found, "test", lambda record, body: None)
        sending = _spawn(sender)
        # Killed before a byte has come, the record would be complete without the code that fails.
        _until(sending, lambda: server.requests and sender._connections["gateway"].latest.pieces)
        sending.kill()
    assert isinstance(sending.value, gevent.GreenletExit)
    assert _one(found).outcome == "broken"


@pytest.mark.parametrize("killed", [False, True])
def test_an_error_in_the_report_loses_neither_the_record_nor_a_kill(killed, caplog):
    script = [HEAD + chunked(token(), last=False), HANG] if killed else [streamed(*WHOLE)]
    with caplog.at_level(logging.ERROR), Server(script) as server:
        found = user_context(server.url, deadlines=LONG)
        sending = _spawn(Sender(found, "test", _fails))
        if killed:
            _until(sending, lambda: server.requests)
            sending.kill()
            assert isinstance(sending.value, gevent.GreenletExit)
        else:
            assert sending.get(timeout=WITHIN_S).outcome == "ok"
    assert _one(found).request_id in caplog.text


def test_a_request_that_ends_after_its_recorder_was_closed_is_counted_and_logged(caplog):
    with caplog.at_level(logging.ERROR), Server([0.2, streamed(*WHOLE)]) as server:
        found = user_context(server.url)
        sending = _spawn(Sender(found, "test", lambda record, body: None))
        _until(sending, lambda: server.requests)
        found.recorder.close()
        assert sending.get(timeout=WITHIN_S).outcome == "ok"
    assert kept(found) == []
    assert found.recorder.tally.snapshot().by_outcome == {"ok": 1}
    assert "its record is lost" in caplog.text


def test_a_request_to_a_tier_that_is_not_there_has_its_record_too():
    found = user_context("http://127.0.0.1:1")
    with pytest.raises(KeyError):
        Sender(found, "test", lambda record, body: None).send(
            Request(prompt="hi", stream=True, via="nowhere")
        )
    assert (_one(found).outcome, _one(found).error) == ("broken", "in the harness: KeyError: 'nowhere'")

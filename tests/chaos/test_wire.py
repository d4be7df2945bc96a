"""The probe's kept connection: repeats a request once in the keep-alive race, and not when a server died during the request."""

import pytest

from chaos.probe.probe import DEADLINES
from chaos.probe.wire import Connection
from contract.clock import Clock
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import End, Exchange
from contract.health import HealthUrl
from contract.request import Request
from contract.samplers.health import check
from contract.topology import Server as RequestInfo
from tests import tls
from tests.contract.exchanges import ROLE, WHOLE, chunked, event, head, streamed, token
from tests.scenarios.server import CLOSE, RST, Server

GOOD = streamed(*WHOLE)


@pytest.mark.parametrize(
    ("script", "end", "requests"),
    [
        ([0.1, RST], End.COMPLETE, 3),
        ([0.1, CLOSE], End.CLOSED, 2),  # it was read, and died with its server
        ([b"H", CLOSE], End.CLOSED, 2),
    ],
)
def test_the_second_request_on_a_kept_connection(script, end, requests):
    with Server([GOOD], script, [GOOD]) as server:
        endpoint = Endpoint.of(server.url, "m")
        connection = Connection(endpoint, Deadlines(connect=1, first_token=2, silence=2, whole=3))
        found = [
            connection.exchange(endpoint.request("req-1", Request(prompt="hi", max_tokens=5, stream=True)))
            for _ in range(2)
        ]
        connection.close()
        assert [f.end for f in found] == [End.COMPLETE, end]
        assert len(server.requests) == requests


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return tls.certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    ("given", "host", "error"),
    [
        (True, "127.0.0.1", None),
        (False, "127.0.0.1", "certificate verify failed: self-signed certificate"),
        (True, "localhost", "Hostname mismatch, certificate is not valid for 'localhost'"),
    ],
)
def test_a_certificate_is_believed_by_its_own_authority_and_name_alone(certificate, given, host, error):
    ca_file = str(certificate[0]) if given else None
    with Server([GOOD], tls=certificate[1]) as server:
        url = server.url.replace("127.0.0.1", host)
        endpoint = Endpoint.of(url, "m", ca_file=ca_file)
        connection = Connection(endpoint, Deadlines(connect=2, first_token=2, silence=2, whole=3))
        found = connection.exchange(
            endpoint.request("req-1", Request(prompt="hi", max_tokens=5, stream=True))
        )
        connection.close()
        (row,) = check(HealthUrl("vllm", url, RequestInfo(ca_file=ca_file)), {}, Clock())
        assert row.up is (error is None)
    assert found.end is (End.REFUSED if error else End.COMPLETE)
    assert (error or "") in (found.error or "")


def test_a_name_that_no_lookup_takes_is_refused():
    endpoint = Endpoint.of("http://no..name:1", "m")
    found = Connection(endpoint, DEADLINES).exchange(
        endpoint.request("req-1", Request(prompt="hi", max_tokens=5, stream=True))
    )
    assert found.end is End.REFUSED


HEAD = head("200 OK", "transfer-encoding: chunked")
PINGS = [b": ping\n\n", b"data: ping\n\n", b"data: {}\n\n", b"\n"]


def pinged(ping: bytes, times: int) -> list:
    return [step for _ in range(times) for step in (chunked(ping, last=False), 0.05)]


@pytest.mark.parametrize(
    ("begun", "end", "error"),
    [
        ([token()], End.SILENT, "silent for 0.5 s"),
        ([ROLE], End.LATE, "no first token in 0.6 s"),
        ([], End.LATE, "no first token in 0.6 s"),
    ],
)
@pytest.mark.parametrize("ping", PINGS)
def test_pings_are_no_life(begun, end, error, ping):
    with Server([HEAD + chunked(*begun, last=False), *pinged(ping, 80)]) as server:
        found = exchanged(server)
    assert (found.end, found.error) == (end, error)
    assert len(found.pieces) > 1


def test_a_stream_that_continues_lives_as_long_as_it_sends_something():
    thought = event({"choices": [{"index": 0, "delta": {"reasoning": "so"}, "finish_reason": None}]})
    with Server([HEAD, *pinged(thought, 20), *pinged(token(), 20), chunked(*WHOLE)]) as server:
        assert exchanged(server).end is End.COMPLETE


def test_a_flood_of_pings_ends_too():
    flood = chunked(b": " + b"x" * 60_000 + b"\n\n", last=False)
    with Server([HEAD + chunked(token(), last=False), *[flood] * 100_000]) as server:
        # By its silence, or by its size on a fast machine.
        assert exchanged(server).end in (End.SILENT, End.UNPARSABLE)


def exchanged(server: Server) -> Exchange:
    endpoint = Endpoint.of(server.url, "m")
    connection = Connection(endpoint, Deadlines(connect=1, first_token=0.6, silence=0.5, whole=4))
    try:
        return connection.exchange(endpoint.request("req-1", Request(prompt="hi", max_tokens=5, stream=True)))
    finally:
        connection.close()

"""A server that sends without an end, fast or slowly, holds no request of ours beyond its deadline, and fills no memory."""

from collections.abc import Callable

import pytest
import urllib3
from kubernetes import client

from chaos.kube import bounded
from chaos.kube import wire as kube
from chaos.kube.credentials import Credentials
from chaos.kube.credentials import Server as Cluster
from chaos.probe.wire import Connection as Probes
from contract import page
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import LARGEST, End, Exchange
from contract.request import Request
from scenarios.gateway.wire.exchange import Connection as Users
from scenarios.gateway.wire.watchdog import Watchdog
from tests.contract.exchanges import chunked, head, recorded, token
from tests.scenarios.server import Endless, Server

WHOLE_S = 0.5
DEADLINES = Deadlines(connect=1, first_token=WHOLE_S, silence=WHOLE_S, whole=WHOLE_S)
REQUEST = Request(prompt="hi", max_tokens=5, stream=True)
CHUNKS = head("200 OK", "transfer-encoding: chunked")
BEGUN = CHUNKS + chunked(token(), last=False)
FLOODS = {
    "interim responses": [Endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)],
    "interim responses of another kind": [Endless(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" * 1000)],
    "a status line": [b"HTTP/1.1 200 ", Endless(b"O" * 65536)],
    "a header": [b"HTTP/1.1 200 OK\r\nx: ", Endless(b"x" * 65536)],
    "headers": [b"HTTP/1.1 200 OK\r\n", Endless(b"x: y\r\n" * 10_000)],
    "a body with a length": [head("200 OK", "content-length: 99999999999"), Endless(b"x" * 65536)],
    "a body without a length": [head("200 OK"), Endless(b"x" * 65536)],
    "chunks": [CHUNKS, Endless(chunked(b"x" * 65536, last=False))],
    "chunks of one byte": [CHUNKS, Endless(chunked(b"x", last=False) * 10_000)],
    "tokens": [BEGUN, Endless(chunked(token(), last=False) * 100)],
    "empty lines": [BEGUN, Endless(chunked(b"\n" * 65536, last=False))],
    "pings": [BEGUN, Endless(chunked(b": ping\n\n" * 1000, last=False))],
    "a chunk's extension": [CHUNKS + b"1;", Endless(b"x" * 65536)],
    "trailers": [CHUNKS + b"0\r\n", Endless(b"x: y\r\n" * 10_000)],
    "a trailer": [CHUNKS + b"0\r\nx: ", Endless(b"x" * 65536)],
}  # fmt: skip
DRIPS = {
    "interim responses": [Endless(b"HTTP/1.1 100 Continue\r\n\r\n")],
    "a header": [b"HTTP/1.1 200 OK\r\nx: ", Endless(b"x")],
    "headers": [b"HTTP/1.1 200 OK\r\n", Endless(b"x: y\r\n")],
    "a body": [head("200 OK", "content-length: 99999999999"), Endless(b"x")],
    "chunks of one byte": [CHUNKS, Endless(chunked(b"x", last=False))],
    "tokens": [BEGUN, Endless(chunked(token(), last=False), 0.01)],
    "a chunk's extension": [CHUNKS + b"1;", Endless(b"x")],
    "trailers": [CHUNKS + b"0\r\n", Endless(b"x: y\r\n")],
}  # fmt: skip
SCRIPTS = [
    *((f"a flood of {n}", s) for n, s in FLOODS.items()),
    *((f"a drip of {n}", s) for n, s in DRIPS.items()),
]


def _users(url: str) -> Exchange:
    endpoint = Endpoint.of(url, "m")
    connection = Users(endpoint, Watchdog())
    return connection.exchange(endpoint.request("req-1", REQUEST), DEADLINES)


def _probe(url: str) -> Exchange:
    endpoint = Endpoint.of(url, "m")
    return Probes(endpoint, DEADLINES).exchange(endpoint.request("req-1", REQUEST))


def _page(url: str) -> Exchange:
    return page.get(url, WHOLE_S, largest=2**24)


CLIENTS: dict[str, Callable[[str], Exchange]] = {"users": _users, "probe": _probe, "page": _page}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("name", "script"), SCRIPTS, ids=[name for name, _ in SCRIPTS])
def test_a_request_ends_at_a_limit_or_at_its_deadline(client, name, script):
    with Server(script) as server:
        found = CLIENTS[client](server.url)
    assert found.end in (End.LATE, End.SILENT, End.UNPARSABLE)
    assert found.error
    assert sum(len(piece) for _, piece in found.pieces) <= LARGEST
    record = recorded(found)
    assert record.outcome in ("timeout", "stalled", "broken", "cut")
    assert record.error
    assert len(str(record.error)) < 100


@pytest.fixture
def kubernetes(monkeypatch):
    """Requests to a server as to an API server, with short limits."""
    monkeypatch.setattr(kube, "READ_S", WHOLE_S)
    monkeypatch.setattr(kube, "WATCH_BEYOND_S", WHOLE_S)
    monkeypatch.setattr(bounded, "WITHIN_S", WHOLE_S)

    def wire(url: str) -> kube.Wire:
        settings = client.Configuration()
        settings.host, settings.retries = url, False
        found = Credentials(settings, Cluster(url, None, None, False), None, None, None, None)
        return kube.Wire(lambda _: found)

    return wire


@pytest.mark.timeout(60)
@pytest.mark.parametrize("request_kind", ["get", "watch"])
@pytest.mark.parametrize(("name", "script"), SCRIPTS, ids=[name for name, _ in SCRIPTS])
def test_a_request_of_the_cluster_ends_too(kubernetes, name, script, request_kind):
    with Server(script) as server:
        wire = kubernetes(server.url)
        with pytest.raises((urllib3.exceptions.HTTPError, ValueError)):
            _get(wire) if request_kind == "get" else _watch(wire)


def _get(wire: kube.Wire) -> None:
    wire.get("/api/v1/namespaces/a/pods")


def _watch(wire: kube.Wire) -> None:
    response = wire.watch("/apis/apps/v1/namespaces/a/deployments", 0)
    list(kube.events(response, "b", "a", "deployments"))

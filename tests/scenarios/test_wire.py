"""The kept connection: reused, reopened, request sent again once in the keep-alive race; and TLS."""

import socket
import time
from dataclasses import replace

import gevent
import pytest

from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import End
from contract.request import Request
from scenarios.gateway.user_context import DEADLINES as USERS
from scenarios.gateway.wire.exchange import Connection
from scenarios.gateway.wire.watchdog import Watchdog
from tests import tls
from tests.contract.exchanges import WHOLE, chunked, head, plain, streamed, token
from tests.ports import held_port
from tests.scenarios.server import CLOSE, HANG, RST, Server

DEADLINES = Deadlines(connect=1, first_token=2, silence=0.4, whole=3)
GOOD = streamed(*WHOLE)
KEPT_THEN_CLOSED = [0.02, CLOSE]


def _connection(url: str) -> tuple[Connection, bytes]:
    endpoint = Endpoint.of(url, "m")
    return Connection(endpoint, Watchdog()), endpoint.request(
        "req-1", Request(prompt="hi", max_tokens=5, stream=True)
    )


def _twice(server: Server, pause_s: float = 0.0):
    connection, request = _connection(server.url)
    ends = []
    for _ in range(2):
        ends.append(connection.exchange(request, DEADLINES))
        gevent.sleep(pause_s)
    connection.close()
    return ends


def test_a_connection_is_used_again():
    with Server([GOOD]) as server:
        assert [e.end for e in _twice(server)] == [End.COMPLETE] * 2
        assert len(server.connections) == 1


def test_a_connection_that_was_closed_while_idle_is_opened_again():
    with Server([GOOD, CLOSE], [GOOD]) as server:
        assert [e.end for e in _twice(server, pause_s=0.1)] == [End.COMPLETE] * 2
        assert (len(server.connections), len(server.requests)) == (2, 2)


def test_unrequested_bytes_are_not_an_answer():
    with Server([GOOD, 0.02, plain(b"late", "408 Late")], [GOOD]) as server:
        assert [e.status for e in _twice(server, pause_s=0.1)] == [200, 200]


def test_a_connection_that_the_server_closes_is_not_reused():
    with Server([head("200 OK", "content-length: 2", "connection: close") + b"hi", HANG]) as server:
        assert [e.end for e in _twice(server)] == [End.COMPLETE] * 2
        assert len(server.connections) == 2


def test_a_request_in_the_keep_alive_race_is_sent_again_once_with_its_second_send_time():
    with Server([GOOD], [0.1, RST], [GOOD]) as server:
        before = time.monotonic()
        _, second = _twice(server)
        assert (second.end, len(server.requests)) == (End.COMPLETE, 3)
        assert second.sent_at >= before + 0.1


def test_a_request_on_a_connection_that_was_just_closed_is_sent_again(monkeypatch):
    monkeypatch.setattr(Connection, "_still_open", lambda self: self._line)  # the check came too early
    with Server([GOOD, CLOSE], [GOOD]) as server:
        assert [e.end for e in _twice(server, pause_s=0.1)] == [End.COMPLETE] * 2
        assert (len(server.connections), len(server.requests)) == (2, 2)


def test_it_is_sent_again_only_once():
    with Server([GOOD], [RST]) as server:
        _, second = _twice(server)
        assert (second.end, len(server.requests)) == (End.CLOSED, 3)


NO_RACE = [
    # script for the second request on the kept connection
    [b"H", CLOSE],  # a byte came: it was begun
    [0.05, CLOSE],  # it was read, and died with its server
    [0.1, CLOSE],
    [1.1, RST],
    [b"SSH-2.0\r\n", CLOSE],
]


@pytest.mark.parametrize("script", NO_RACE)
def test_outside_the_keep_alive_race_nothing_is_sent_again(script):
    with Server([GOOD], script) as server:
        _, second = _twice(server)
        assert (second.end in (End.CLOSED, End.UNPARSABLE), len(server.requests)) == (True, 2)


def test_a_fresh_connection_has_no_race():
    with Server([CLOSE]) as server:
        connection, request = _connection(server.url)
        assert connection.exchange(request, DEADLINES).end is End.CLOSED
        assert len(server.requests) == 1


def test_an_overdue_connection_is_not_used_again():
    begun = head("200 OK", "transfer-encoding: chunked") + chunked(token(), last=False)
    with Server([begun, HANG], [GOOD]) as server:
        assert [e.end for e in _twice(server)] == [End.SILENT, End.COMPLETE]
        assert len(server.connections) == 2


def test_pieces_are_stamped_when_they_come():
    first, second = chunked(token(), last=False), chunked(token())
    with Server([head("200 OK", "transfer-encoding: chunked"), 0.1, first, 0.2, second]) as server:
        connection, request = _connection(server.url)
        found = connection.exchange(request, USERS)
    (a, _), (b, _) = found.pieces
    # The server may send them later than it slept, depending on the machine.
    assert found.sent_at <= found.headers_at
    assert 0.09 < a - found.headers_at < 1.0
    assert 0.19 < b - a < 1.0


def test_a_server_that_reads_nothing_is_overdue_too():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection, _ = _connection(f"http://127.0.0.1:{listener.getsockname()[1]}")
        found = connection.exchange(b"x" * 50_000_000, replace(USERS, first_token=0.3))
    assert (found.end, found.error) == (End.LATE, "no first token in 0.3 s")


def test_a_connection_can_be_closed_twice_and_before_it_was_opened():
    connection, _ = _connection(f"http://127.0.0.1:{held_port()}")
    connection.close()
    connection.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return tls.certificate(tmp_path_factory.mktemp("tls"))


def test_tls_is_spoken_kept_and_held_to_deadlines(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    begun = head("200 OK", "transfer-encoding: chunked") + chunked(token(), last=False)
    with Server([GOOD], [GOOD], [begun, HANG], [begun, CLOSE], tls=certificate[1]) as server:
        connection, request = _connection(server.url)
        found = [connection.exchange(request, DEADLINES) for _ in range(4)]
        assert [f.end for f in found] == [End.COMPLETE, End.COMPLETE, End.SILENT, End.CLOSED]
        assert len(server.connections) == 2


TRUST = [
    # whether its file is given, host name in the url, error
    (True, "127.0.0.1", None),
    (False, "127.0.0.1", "certificate verify failed: self-signed certificate"),
    (True, "localhost", "Hostname mismatch, certificate is not valid for 'localhost'"),
]


@pytest.mark.parametrize(("given", "host", "error"), TRUST)
def test_a_certificate_is_believed_by_its_own_authority_and_name_alone(certificate, given, host, error):
    with Server([GOOD], tls=certificate[1]) as server:
        url = server.url.replace("127.0.0.1", host)
        endpoint = Endpoint.of(url, "m", ca_file=str(certificate[0]) if given else None)
        connection = Connection(endpoint, Watchdog())
        found = connection.exchange(
            endpoint.request("req-1", Request(prompt="hi", max_tokens=5, stream=True)), DEADLINES
        )
        connection.close()
    assert found.end is (End.REFUSED if error else End.COMPLETE)
    assert (error or "") in (found.error or "")

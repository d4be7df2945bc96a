"""What a socket shows of a request that was lost with its connection."""

import socket
import time

import pytest

from contract.framing import End, Exchange
from contract.keepalive import closing, lost_unread, was_read

LATE_S = 0.5  # long after anything that crossed the request on the wire


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        yield ours, theirs
        ours.close()


def test_what_was_read_before_the_end_was_read(pair):
    ours, theirs = pair
    ours.sendall(b"request")
    assert theirs.recv(9) == b"request"
    theirs.close()
    assert ours.recv(9) == b""
    assert was_read(ours, LATE_S, time.sleep)


def test_an_end_that_came_within_a_round_trip_had_crossed_the_request(pair):
    """Even if the request is acknowledged: some servers accept and discard what comes after their end."""
    ours, theirs = pair
    ours.sendall(b"request")
    assert theirs.recv(9) == b"request"
    theirs.shutdown(socket.SHUT_WR)
    assert ours.recv(9) == b""
    assert not was_read(ours, 0.0005, time.sleep)


def test_an_end_that_waited_for_a_busy_client_is_as_old_as_it_is(pair):
    """Read a tenth of a second after the request was sent, although it had arrived before."""
    ours, theirs = pair
    ours.sendall(b"request")
    assert theirs.recv(9) == b"request"
    theirs.shutdown(socket.SHUT_WR)
    # Counted from here, not from the request: a stall of this process between the two would count as server time.
    ended_at = time.monotonic()
    time.sleep(0.1)  # the client is busy
    assert ours.recv(9) == b""
    assert not was_read(ours, 0.0005 + time.monotonic() - ended_at, time.sleep)


def test_a_late_acknowledgement_is_not_a_long_round_trip(pair):
    """The kernel's smoothed round trip includes the time that a server took to answer."""
    ours, theirs = pair
    for _ in range(5):
        ours.sendall(b"request")
        assert theirs.recv(9) == b"request"
        time.sleep(0.3)  # the server is busy
        theirs.sendall(b"answer")
        assert ours.recv(9) == b"answer"
    ours.sendall(b"request")
    assert theirs.recv(9) == b"request"
    theirs.close()
    assert ours.recv(9) == b""
    assert was_read(ours, 0.3, time.sleep)


def test_a_closed_server_is_detected_when_the_request_is_sent(pair):
    ours, theirs = pair
    ours.sendall(b"request")
    assert not closing(ours)
    assert theirs.recv(9) == b"request"
    theirs.close()
    assert ours.recv(9) == b""
    assert closing(ours)


def test_a_request_after_the_end_was_not_read(pair):
    ours, theirs = pair
    theirs.close()
    ours.sendall(b"request")
    assert ours.recv(9) == b""
    assert not was_read(ours, LATE_S, time.sleep)


def test_a_request_that_waits_while_the_server_closes_was_not_read(pair):
    ours, theirs = pair
    ours.sendall(b"request")
    theirs.shutdown(socket.SHUT_RDWR)
    assert ours.recv(9) == b""
    closed = []

    def pause(seconds: float) -> None:  # the close comes after the end of file has been seen
        closed.append(theirs.close())
        time.sleep(seconds)

    assert not was_read(ours, LATE_S, pause)
    assert closed


def test_a_server_that_closes_with_unread_bytes_resets(pair):
    ours, theirs = pair
    ours.sendall(b"request")
    theirs.close()
    with pytest.raises(ConnectionResetError):
        ours.recv(9)


@pytest.mark.parametrize(
    ("end", "after_s", "heard", "read", "race"),
    [
        (End.CLOSED, 0.1, False, False, True),
        (End.CLOSED, 0.1, False, True, False),
        (End.CLOSED, 0.1, True, False, False),
        (End.CLOSED, 1.1, False, False, False),
        (End.COMPLETE, 0.1, True, False, False),
        (End.LATE, 0.1, False, False, False),
    ],
)
def test_only_what_was_lost_unread_and_at_once_is_a_race(end, after_s, heard, read, race):
    exchange = Exchange(sent_at=5.0, ended_at=5.0 + after_s, end=end)
    assert lost_unread(exchange, heard, read) is race

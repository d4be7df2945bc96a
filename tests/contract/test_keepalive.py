"""What a socket tells of a request that was lost with its connection."""

import socket
import time

import pytest

from contract.framing import End, Exchange
from contract.keepalive import closing, lost_unread, was_read

LATE_S = 0.5  # long after anything that crossed the request on its way


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
    """Whoever acknowledges it by then: some servers take what comes after their end, and throw it away."""
    ours, theirs = pair
    ours.sendall(b"request")
    assert theirs.recv(9) == b"request"
    theirs.shutdown(socket.SHUT_WR)
    assert ours.recv(9) == b""
    assert not was_read(ours, 0.0005, time.sleep)


def test_an_end_that_waited_for_a_busy_client_is_as_old_as_it_is(pair):
    """Seen a tenth of a second after the request went out; but it had been there all the time."""
    ours, theirs = pair
    ours.sendall(b"request")
    assert theirs.recv(9) == b"request"
    theirs.shutdown(socket.SHUT_WR)
    # Counted from here, and not from the request: what holds this process up between the two would be a server's thinking.
    ended_at = time.monotonic()
    time.sleep(0.1)  # the client is busy
    assert ours.recv(9) == b""
    assert not was_read(ours, 0.0005 + time.monotonic() - ended_at, time.sleep)


def test_what_a_server_took_long_to_acknowledge_is_no_long_way(pair):
    """The kernel's smoothed round trip counts how long a server thought before it answered."""
    ours, theirs = pair
    for _ in range(5):
        ours.sendall(b"request")
        assert theirs.recv(9) == b"request"
        time.sleep(0.3)  # it thinks
        theirs.sendall(b"answer")
        assert ours.recv(9) == b"answer"
    ours.sendall(b"request")
    assert theirs.recv(9) == b"request"
    theirs.close()
    assert ours.recv(9) == b""
    assert was_read(ours, 0.3, time.sleep)


def test_a_server_that_is_done_is_seen_to_be_when_the_request_goes_out(pair):
    ours, theirs = pair
    ours.sendall(b"request")
    assert not closing(ours)
    assert theirs.recv(9) == b"request"
    theirs.close()
    assert ours.recv(9) == b""
    assert closing(ours)


def test_what_comes_after_the_end_was_not(pair):
    ours, theirs = pair
    theirs.close()
    ours.sendall(b"request")
    assert ours.recv(9) == b""
    assert not was_read(ours, LATE_S, time.sleep)


def test_what_waits_unread_when_a_server_shuts_down_and_closes_was_not(pair):
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


def test_who_closes_with_bytes_unread_resets(pair):
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

"""What a socket tells of a request that was lost with its connection."""

import socket

import pytest

from contract.framing import End, Exchange
from contract.keepalive import acknowledged, lost_unread


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        yield ours, theirs
        ours.close()


def test_what_was_read_before_the_end_is_acknowledged(pair):
    ours, theirs = pair
    ours.sendall(b"ask")
    assert theirs.recv(9) == b"ask"
    theirs.close()
    assert ours.recv(9) == b""
    assert acknowledged(ours.fileno())


def test_what_comes_after_the_end_is_not(pair):
    ours, theirs = pair
    theirs.close()
    ours.sendall(b"ask")
    assert ours.recv(9) == b""
    assert not acknowledged(ours.fileno())


def test_who_closes_with_bytes_unread_resets(pair):
    ours, theirs = pair
    ours.sendall(b"ask")
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

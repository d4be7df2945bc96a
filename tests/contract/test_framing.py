"""The framing of a response: how it ends, and what of it is kept."""

import pytest

from contract import framing
from contract.framing import End, Exchange, Framing
from tests.contract.exchanges import chunked, head, received

OK = "HTTP/1.1 200 OK\r\n"

ENDS = [
    # bytes, closed by the other side?, how it ends, whether the connection can be used again
    (f"{OK}content-length: 2\r\n\r\nab", False, End.COMPLETE, True),
    (f"{OK}content-length: 0\r\n\r\n", False, End.COMPLETE, True),
    (f"{OK}transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", False, End.COMPLETE, True),
    (f"{OK}Transfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n", True, End.CLOSED, False),
    (f"{OK}content-length: 2\r\nconnection: close\r\n\r\nab", False, End.COMPLETE, False),
    (f"{OK}\r\nab", True, End.COMPLETE, False),  # no length: the end of the connection is the end
    (f"{OK}content-length: 3\r\n\r\nab", True, End.CLOSED, False),
    ("HTTP/1.1 204 No Content\r\n\r\n", False, End.COMPLETE, True),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", False, End.COMPLETE, True),
    ("HTTP/1.1 100 Continue\r\n\r\n", True, End.CLOSED, False),
    ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", False, End.UNPARSABLE, False),
    ("", True, End.CLOSED, False),
    ("HTTP/1.1 20", True, End.CLOSED, False),
    ("SSH-2.0-OpenSSH_9.6\r\n", True, End.UNPARSABLE, False),
    (f"{OK}transfer-encoding: chunked\r\n\r\nzz\r\n", True, End.UNPARSABLE, False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "closed", "end", "reusable"), ENDS)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_response_ends_as_its_framing_says_however_it_is_cut(text, closed, end, reusable, step):
    data = text.encode()
    pieces = [(1.0, data[i : i + step]) for i in range(0, len(data), step)]
    exchange, framing = received(*pieces, closed_at=2.0 if closed else None)
    assert (exchange.end, framing.reusable) == (end, reusable)


def test_a_second_response_in_the_same_bytes_changes_nothing_but_ends_the_connection():
    data = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 408 Late\r\ncontent-length: 1\r\n\r\nx"
    exchange, framing = received((1.0, data))
    assert (exchange.status, exchange.pieces, framing.reusable) == (200, [(1.0, b"{}")], False)


def test_bytes_after_the_end_are_not_read():
    exchange, framing = received((1.0, b"HTTP/1.1 204 No\r\n\r\n"), (2.0, b"HTTP/1.1 500 No\r\n\r\n"))
    assert (exchange.status, exchange.ended_at, framing.reusable) == (204, 1.0, False)


def test_headers_and_pieces_bear_the_instants_of_their_reception():
    first, second = head("200 OK", "transfer-encoding: chunked"), chunked(b"abc")
    exchange, _ = received((1.0, first[:9]), (2.0, first[9:]), (3.0, second[:5]), (4.0, second[5:]))
    assert exchange.headers_at == 2.0
    assert exchange.pieces == [(3.0, b"ab"), (4.0, b"c")]
    assert exchange.ended_at == 4.0


def test_a_reset_is_no_end_even_of_a_body_without_length():
    exchange = Exchange()
    framing = Framing(exchange)
    framing.feed(b"HTTP/1.1 200 OK\r\n\r\nab", 1.0)
    framing.closed(2.0, "ConnectionResetError")
    assert (exchange.end, exchange.error) == (End.CLOSED, "ConnectionResetError")


def test_what_ended_does_not_end_again():
    exchange, framing = received((1.0, b"HTTP/1.1 204 No\r\n\r\n"))
    framing.given_up(End.STOPPED, 9.0, "too late")
    assert (exchange.end, exchange.ended_at, exchange.error) == (End.COMPLETE, 1.0, None)


PASSED = "more than 64 KiB without a header or a part of the body"


@pytest.mark.parametrize(
    ("begins", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "more than 1 MiB"),  # a body without end
        (b"HTTP/1.1 200 OK\r\nx: ", PASSED),  # a header without end
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
            PASSED,
        ),  # a chunk's extension without end
    ],
)
def test_a_response_without_end_is_given_up_before_it_fills_the_memory(begins, error, monkeypatch):
    monkeypatch.setattr(framing, "LARGEST", 2**20)
    found = Framing(exchange := Exchange())
    found.feed(begins, 1.0)
    for _ in range(40):
        found.feed(b"x" * 65536, 2.0)
    assert (exchange.end, exchange.error) == (End.UNPARSABLE, error)
    assert (found.done, found.reusable) == (True, False)
    assert sum(len(piece) for _, piece in exchange.pieces) <= 2**20


LIMITS = [
    (b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" * 20 + f"{OK}content-length: 2\r\n\r\nab".encode(), None),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 21, "more than 20 interim responses"),
    (OK.encode() + b"x: y\r\n" * 199 + b"content-length: 2\r\n\r\nab", None),
    (OK.encode() + b"x: y\r\n" * 202, "more than 200 headers"),
    (OK.encode() + b"x: " + b"y" * 60_000 + b"\r\ncontent-length: 2\r\n\r\nab", None),
    (OK.encode() + b"x: " + b"y" * 66_000 + b"\r\na: b\r\nc: d\r\n", "headers of more than 64 KiB"),
    (OK.encode() + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 202, "more than 200 headers"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "error"), LIMITS, ids=map(str, range(len(LIMITS))))
@pytest.mark.parametrize("step", [1, 1000, 10**6])
def test_a_response_beyond_a_limit_ends_with_a_sentence_however_it_is_cut(data, error, step):
    exchange, found = received(*[(1.0, data[i : i + step]) for i in range(0, len(data), step)])
    assert exchange.end is (End.UNPARSABLE if error else End.COMPLETE)
    assert exchange.error in ((error, PASSED) if error else (None,))
    assert found.reusable is (error is None)


def test_a_body_is_kept_in_as_many_pieces_as_there_were_reads():
    """A chunk of one byte costs no piece of its own: each would take a hundred times its size."""
    exchange, _ = received(
        (1.0, head("200 OK", "transfer-encoding: chunked")), (2.0, chunked(*[b"x"] * 5000))
    )
    assert exchange.pieces == [(2.0, b"x" * 5000)]


def test_a_body_in_too_many_reads_ends(monkeypatch):
    monkeypatch.setattr(framing, "MOST_PIECES", 10)
    exchange, _ = received((1.0, OK.encode() + b"\r\n"), *[(2.0, b"x")] * 20)
    assert (exchange.end, exchange.error) == (End.UNPARSABLE, "a body in more than 10 pieces")

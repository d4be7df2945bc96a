"""Reading on the hub: correct timestamps although the hub was late, fair, and no error is lost."""

import threading
import time

import gevent
import pytest

from contract.framing import End
from scenarios.gateway.wire.connection import Line
from tests.contract.exchanges import WHOLE, chunked, event, head, streamed, token
from tests.scenarios.server import HANG, Server
from tests.scenarios.test_wire import DEADLINES, GOOD, _connection

HEAD = head("200 OK", "transfer-encoding: chunked")
HELD_S = 0.25


class Script(list):
    """A script that sets `finished` after its last step."""

    def __init__(self, *steps):
        super().__init__(steps)
        self.finished = threading.Event()

    def __iter__(self):
        yield from super().__iter__()
        self.finished.set()


def test_bytes_that_came_while_the_hub_was_stalled_have_their_receive_times():
    script = Script(
        HEAD + chunked(token(), last=False), 0.05, chunked(token(), last=False), 0.05, chunked(token())
    )
    with Server(script) as server:
        connection, request = _connection(server.url)
        exchanging = gevent.spawn(connection.exchange, request, DEADLINES)
        while not server.requests:
            gevent.sleep(0.001)
        script.finished.wait()  # not gevent's: blocks the hub
        time.sleep(HELD_S)
        released_at = time.monotonic()
        found = exchanging.get()
    assert found.end is End.COMPLETE
    first, *_, last = [at for at, _ in found.pieces]
    assert found.sent_at < first <= last <= found.ended_at < released_at - HELD_S / 2


def test_a_first_token_with_more_behind_it_is_read_apart():
    with Server([HEAD + chunked(token(), *WHOLE)]) as server:
        connection, request = _connection(server.url)
        found = connection.exchange(request, DEADLINES)
    assert found.end is End.COMPLETE
    assert b"".join(piece for _, piece in found.pieces) == b"".join([token(), *WHOLE])


def test_a_stream_that_floods_does_not_starve_the_others():
    flood = HEAD + chunked(*[b": " + b"x" * 1_000_000 + b"\n\n"] * 60)
    with Server([flood]) as flooding, Server([GOOD]) as server:
        wide, request = _connection(flooding.url)
        exchanging = gevent.spawn(wide.exchange, request, DEADLINES)
        while not wide.latest or not wide.latest.pieces:
            gevent.sleep(0)
        connection, request = _connection(server.url)
        assert connection.exchange(request, DEADLINES).end is End.COMPLETE
        assert not exchanging.ready()
        exchanging.kill()


def test_a_sender_killed_while_waiting_leaves_a_whole_exchange_and_uses_a_new_connection():
    with Server([HEAD + chunked(token(), last=False), HANG], [GOOD]) as server:
        connection, request = _connection(server.url)
        exchanging = gevent.spawn(connection.exchange, request, DEADLINES)
        while not connection.latest or not connection.latest.pieces:
            gevent.sleep(0.001)
        exchanging.kill()
        killed = connection.latest
        assert (killed.end, len(killed.pieces)) == (End.STOPPED, 1)
        assert connection.exchange(request, DEADLINES).end is End.COMPLETE
        assert len(killed.pieces) == 1


def test_a_whole_answer_stays_whole_though_its_sender_is_killed_before_it_wakes(monkeypatch):
    """The end of the answer wakes the sender in a later turn of the hub; a kill may come first."""
    over = Line._over

    def killed_first(line, wake, *what):
        over(line, exchanging.kill)

    monkeypatch.setattr(Line, "_over", killed_first)
    with Server([GOOD]) as server:
        connection, request = _connection(server.url)
        exchanging = gevent.spawn(connection.exchange, request, DEADLINES)
        exchanging.join()
    assert isinstance(exchanging.value, gevent.GreenletExit)
    assert connection.latest.end is End.COMPLETE


def test_our_own_error_on_the_hub_reaches_the_sender(monkeypatch):
    def mistaken(*_):
        raise AssertionError("ours")

    monkeypatch.setattr(Line, "_feed", mistaken)
    with Server([streamed(*WHOLE)]) as server:
        connection, request = _connection(server.url)
        with pytest.raises(AssertionError, match="ours"):
            connection.exchange(request, DEADLINES)


BEGUN = HEAD + chunked(token(), last=False)
PINGS = [
    b": ping\n\n",
    b"data: ping\n\n",
    b"data: {}\n\n",
    b"\n",
    event(
        {"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}], "usage": None}
    ),
]


def pinged(ping: bytes, times: int) -> list:
    return [step for _ in range(times) for step in (chunked(ping, last=False), 0.05)]


@pytest.mark.parametrize("ping", PINGS)
def test_pings_do_not_count_as_content(ping):
    with Server([BEGUN, *pinged(ping, 80)]) as server:
        connection, request = _connection(server.url)
        found = connection.exchange(request, DEADLINES)
        connection.close()
    assert (found.end, found.error) == (End.SILENT, "silent for 0.4 s")
    assert len(found.pieces) > 1


def test_pings_before_the_first_token_are_neither_content_nor_silence():
    with Server(
        [HEAD, *pinged(b": ping\n\n", 12), chunked(*WHOLE)], [HEAD, *pinged(b": ping\n\n", 80)]
    ) as server:
        connection, request = _connection(server.url)
        found = [connection.exchange(request, DEADLINES) for _ in range(2)]
        connection.close()
    assert [f.end for f in found] == [End.COMPLETE, End.LATE]
    assert found[1].error == "no first token in 2 s"


@pytest.mark.parametrize("delta", [{"reasoning_content": "so"}, {"content": "so"}, {"thinking": "so"}])
def test_a_stream_is_not_silent_while_it_has_content(delta):
    thought = event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    with Server([HEAD, *pinged(thought, 50), chunked(*WHOLE)]) as server:
        connection, request = _connection(server.url)
        found = connection.exchange(
            request, DEADLINES
        )  # the first-token deadline is 2 s; it thinks for 2.5 s
        connection.close()
    assert found.end is End.COMPLETE


def test_a_first_token_is_seen_though_it_comes_byte_by_byte():
    spelt = [chunked(bytes([byte]), last=False) for byte in token()]
    with Server([HEAD, *[step for byte in spelt for step in (byte, 0.001)], HANG]) as server:
        connection, request = _connection(server.url)
        found = connection.exchange(request, DEADLINES)
        connection.close()
    assert (found.end, found.error) == (End.SILENT, "silent for 0.4 s")

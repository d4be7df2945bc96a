"""Which deadline holds, and that the watchdog looks twice."""

import pytest

from contract.framing import End
from scenarios.gateway.deadlines import Deadlines, Due, due
from scenarios.gateway.watchdog import Watch, Watchdog

DEADLINES = Deadlines(connect=5, first_token=60, silence=30, whole=300)

TABLE = [
    # sent, latest reception, due at, ended as
    (0.0, None, 60.0, End.LATE),
    (0.0, 10.0, 40.0, End.SILENT),
    (0.0, 269.0, 299.0, End.SILENT),
    (0.0, 280.0, 300.0, End.SILENT),  # the whole has its end even while tokens come
    (100.0, None, 160.0, End.LATE),
]


@pytest.mark.parametrize(("sent_at", "last_at", "at", "end"), TABLE)
def test_the_deadline_that_comes_first_holds(sent_at, last_at, at, end):
    found = due(DEADLINES, sent_at, last_at)
    assert (found.at, found.end) == (at, end)


def test_a_first_token_is_not_waited_for_longer_than_for_the_whole():
    assert due(Deadlines(first_token=60, whole=7), 0.0, None) == Due(7.0, End.LATE, "no first token in 7 s")


class Socket:
    """Takes the place of a socket that is shut."""


@pytest.fixture
def shut(monkeypatch):
    found = []
    monkeypatch.setattr("scenarios.gateway.watchdog.shut", found.append)
    return found


def _watchdog(sock):
    watchdog = Watchdog()
    watch = Watch(sock, Deadlines(silence=5, whole=100), 0.0, lambda: None, 5.0)
    watchdog._watches.add(watch)
    return watchdog, watch


def test_what_is_overdue_is_shut_at_the_second_look_and_only_once(shut):
    sock = Socket()
    watchdog, watch = _watchdog(sock)
    for now, overdue in [(9.9, False), (10.0, False), (10.05, True), (10.1, True)]:
        watchdog.look(now)
        assert (watch.overdue is not None) is overdue
    assert shut == [sock]


def test_bytes_that_were_merely_unread_save_an_exchange(shut):
    """This process was held up: at its first look the deadline is long past, and then the bytes are read."""
    watchdog, watch = _watchdog(Socket())
    watchdog.look(15.0)
    watch.last_at = 40.0
    watchdog.look(15.05)
    watchdog.look(44.0)
    assert shut == []


def test_what_was_said_is_asked_for_where_an_exchange_would_be_overdue_and_not_before(shut):
    watchdog, watch = _watchdog(Socket())
    asked, said = [], [7.0, 6.0, None, None]
    watch.said_at = lambda: asked.append(1) or said.pop(0)
    watchdog.look(9.9)
    assert not asked
    watchdog.look(10.0)
    assert (watch.last_at, len(asked)) == (7.0, 1)
    watchdog.look(11.9)
    assert len(asked) == 1
    for now in (12.0, 12.05, 12.1):
        watchdog.look(now)
    assert (watch.last_at, watch.overdue.why, len(shut)) == (7.0, "silent for 5 s", 1)


def test_the_whole_has_its_end_even_while_tokens_come(shut):
    watchdog, watch = _watchdog(Socket())
    for now in (99.9, 100.0, 100.05):
        watch.last_at = now - 0.01
        watchdog.look(now)
    assert (watch.overdue.why, len(shut)) == ("not whole in 100 s", 1)


def test_what_is_forgotten_is_left_alone(shut):
    watchdog, watch = _watchdog(Socket())
    watchdog.look(11.0)
    watchdog.forget(watch)
    watchdog.look(12.0)
    assert shut == []

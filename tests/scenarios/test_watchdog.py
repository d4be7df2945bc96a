"""The watchdog checks twice before it shuts an overdue socket."""

import pytest

from contract.deadlines import Deadlines
from scenarios.gateway.wire.watchdog import SocketWatch, Watchdog


class Socket:
    """Replaces a socket."""


@pytest.fixture
def shut(monkeypatch):
    found = []
    monkeypatch.setattr("scenarios.gateway.wire.watchdog.shut", found.append)
    return found


def _watchdog(sock):
    watchdog = Watchdog()
    watch = SocketWatch(
        sock, Deadlines(connect=5, first_token=60, silence=5, whole=100), 0.0, lambda: None, 5.0
    )
    watchdog._watches.add(watch)
    return watchdog, watch


def test_an_overdue_socket_is_shut_at_the_second_check_and_only_once(shut):
    sock = Socket()
    watchdog, watch = _watchdog(sock)
    for now, overdue in [(9.9, False), (10.0, False), (10.05, True), (10.1, True)]:
        watchdog.look(now)
        assert (watch.overdue is not None) is overdue
    assert shut == [sock]


def test_bytes_that_were_merely_unread_save_an_exchange(shut):
    """This process was stalled: at the first check the deadline is long past, and then the bytes are read."""
    watchdog, watch = _watchdog(Socket())
    watchdog.look(15.0)
    watch.last_at = 40.0
    watchdog.look(15.05)
    watchdog.look(44.0)
    assert shut == []


def test_new_content_is_read_only_when_an_exchange_would_be_overdue(shut):
    watchdog, watch = _watchdog(Socket())
    calls, content_at = [], [7.0, 6.0, None, None]
    watch.new_content_at = lambda: calls.append(1) or content_at.pop(0)
    watchdog.look(9.9)
    assert not calls
    watchdog.look(10.0)
    assert (watch.last_at, len(calls)) == (7.0, 1)
    watchdog.look(11.9)
    assert len(calls) == 1
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

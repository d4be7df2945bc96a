"""Which deadline holds, and how long users and the probe wait."""

from dataclasses import astuple, replace

import pytest

from chaos.probe import probe, serving
from contract.deadlines import Deadlines, Due, due
from contract.framing import End
from scenarios.gateway import user_context

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
    assert due(replace(DEADLINES, whole=7), 0.0, None) == Due(7.0, End.LATE, "no first token in 7 s")


@pytest.mark.parametrize(
    ("found", "connect", "first_token", "silence", "whole"),
    [
        (user_context.DEADLINES, 5, 60, 30, 300),
        (probe.DEADLINES, 5, 30, 30, 60),
        (serving.PATIENCE, 2, 20, 20, 30),
    ],
    ids=["users", "probe", "plan"],
)
def test_how_long_each_kind_of_request_may_take(found, connect, first_token, silence, whole):
    assert astuple(found) == (connect, first_token, silence, whole)

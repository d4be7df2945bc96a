"""What the live line says of asks wanted and delivered."""

import pytest

from scenarios.gateway.live import live_line, move_line
from scenarios.gateway.tally import Snapshot

BEFORE = Snapshot(wanted=100, asked=100, capped=0, in_flight=0, by_outcome={}, by_tier={})


@pytest.mark.parametrize(
    ("wanted", "asked", "capped", "said"),
    [
        (120, 120, 0, "4.0 asks/s, 3 waiting"),
        (160, 145, 0, "12.0 wanted, 9.0 asks/s, 3 waiting"),  # this process is late
        (160, 122, 38, "12.0 wanted, 4.4 asks/s, 38 capped, 3 waiting"),
    ],
)
def test_wanted_is_said_where_it_was_not_delivered(wanted, asked, capped, said):
    now = Snapshot(wanted, asked, capped, 3, {"ok": asked}, {"vllm": asked})
    assert live_line({}, now, BEFORE, 5.0, None) == f"{said} │ vllm {asked} │ no errors"


@pytest.mark.parametrize(
    ("stage", "error", "line"),
    [
        ("begin", None, None),
        ("commanded", None, "01:23 gaming-mode: inject vllm: commanded"),
        ("effective", None, "01:23 gaming-mode: inject vllm: effective"),
        ("fail", "no such deployment", "01:23 gaming-mode: inject vllm: no such deployment"),
        ("begin", "the guardian is gone", "01:23 gaming-mode: inject vllm: the guardian is gone"),
    ],
)
def test_each_stage_of_a_move_but_its_begin_is_a_line(stage, error, line):
    said = {"step": "gaming-mode", "move": "inject", "target": "vllm", "stage": stage, "error": error}
    assert move_line(said, {"elapsed_s": 83.4}) == line
    assert move_line(said, {}) == (line and line.removeprefix("01:23 "))


def test_what_is_waited_for_stands_behind_the_stage():
    said = {"step": "gaming", "move": "inject", "target": "vllm", "stage": "commanded", "error": None}
    line = move_line(said | {"note": "terminating, up to 1m30s"}, {})
    assert line == "gaming: inject vllm: commanded (terminating, up to 1m30s)"

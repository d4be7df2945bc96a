"""What the live line says of asks wanted and delivered."""

import pytest

from scenarios.gateway.live import live_line
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

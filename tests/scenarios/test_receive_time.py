"""Receive times from the kernel's timestamps; a stepped wall clock changes no duration."""

import socket
import struct

import pytest

from scenarios.gateway.wire.receive_time import _SO_TIMESTAMPNS, received_at

AHEAD_S = 1_000_000.0  # wall less monotonic


def stamped(wall_s: float) -> list[tuple[int, int, bytes]]:
    whole = int(wall_s)
    return [(socket.SOL_SOCKET, _SO_TIMESTAMPNS, struct.pack("@qq", whole, round((wall_s - whole) * 1e9)))]


TABLE = [
    # description, kernel timestamp, wall clock at the read, receive time
    ("read late", stamped(AHEAD_S + 10.25), AHEAD_S + 12.0, 10.25),
    ("read at once", stamped(AHEAD_S + 12.0), AHEAD_S + 12.0, 12.0),
    ("no stamp", [], AHEAD_S + 12.0, 12.0),
    ("other ancillary data", [(socket.SOL_SOCKET, 1, b"\0" * 16)], AHEAD_S + 12.0, 12.0),
    ("a stamp of another shape", [(socket.SOL_SOCKET, _SO_TIMESTAMPNS, b"\0" * 8)], AHEAD_S + 12.0, 12.0),
    ("never before what came earlier", stamped(AHEAD_S + 9.9999), AHEAD_S + 12.0, 10.0),
    ("long before what came earlier: of another clock", stamped(AHEAD_S + 9.0), AHEAD_S + 12.0, 12.0),
    ("never after it was read", stamped(AHEAD_S + 12.1), AHEAD_S + 12.0, 12.0),
    ("stepped forwards before it came", stamped(AHEAD_S + 3611.0), AHEAD_S + 3612.0, 12.0),
    ("stepped forwards after it came", stamped(AHEAD_S + 11.0), AHEAD_S + 3612.0, 12.0),
    ("stepped backwards", stamped(AHEAD_S + 11.0), AHEAD_S - 3588.0, 12.0),
]


@pytest.mark.parametrize(("stamp", "wall_s", "at"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_kernels_timestamp_is_used_if_it_is_plausible(stamp, wall_s, at):
    assert received_at(stamp, wall_s, 12.0, AHEAD_S, 10.0) == pytest.approx(at, abs=1e-6)

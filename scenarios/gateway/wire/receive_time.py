"""Receive times of bytes: the kernel's timestamp if there is one, so that the time is correct although this process was late.

The kernel stamps packets by the wall clock; one call returns the time of its last packet. Plain TCP only: the data of a TLS
socket does not correspond to packets.
"""

import socket
import struct
import time

_SO_TIMESTAMPNS = 35  # Linux; not defined in the socket module
_TIMESPEC = struct.Struct("@qq")
ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
# The two clocks are read one after the other, so their difference may seem to change by this much.
_STEP_S = 0.0005

Ancillary = list[tuple[int, int, bytes]]


def enable_stamps(sock: socket.socket) -> None:
    """Make `recvmsg` return receive times. Without kernel support it returns none."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        pass  # then the read time is used


def wall_ahead_s() -> float:
    """The wall clock minus the monotonic clock, now."""
    return time.time() - time.monotonic()


def received_at(ancillary: Ancillary, wall_s: float, now: float, ahead_s: float, before: float) -> float:
    """The monotonic receive time of bytes that were read at `now` (monotonic), `wall_s` by the wall clock.

    `ahead_s`: wall clock minus monotonic clock when the exchange began. If the wall clock has been stepped since, its
    timestamps cannot be converted, and `now` is returned; also for a timestamp before `before`, that of earlier bytes, which
    must come from another clock.
    """
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
            if abs(wall_s - now - ahead_s) > _STEP_S:
                return now
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            at = seconds + nanoseconds * 1e-9 - ahead_s
            return now if at < before - _STEP_S else min(now, max(before, at))
    return now

"""When bytes came in: the kernel's word where it gives one, so that a stamp is true although this process was late.

The kernel stamps packets by the wall clock, and tells of what one call returns the time of the last. Plain TCP only: what a
TLS socket returns is not what its packets were.
"""

import socket
import struct
import time

_SO_TIMESTAMPNS = 35  # Linux; the socket module does not name it
_TIMESPEC = struct.Struct("@qq")
ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
# The wall clock and the monotonic one are read one after the other: so far apart they may seem to have moved.
_STEP_S = 0.0005

Told = list[tuple[int, int, bytes]]


def enable_stamps(sock: socket.socket) -> None:
    """Have `recvmsg` tell when the bytes came. A kernel that does not know how tells nothing."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        pass  # then they came when they were read


def wall_ahead_s() -> float:
    """The wall clock less the monotonic one, now."""
    return time.time() - time.monotonic()


def received_at(told: Told, wall_s: float, now: float, ahead_s: float, before: float) -> float:
    """The monotonic instant at which bytes came that were read at `now`, and at `wall_s` by the wall clock.

    `ahead_s`: what the wall clock was ahead when the exchange began. If it has been stepped since, its stamps cannot be
    told in monotonic time, and the bytes came when they were read. So did those whose stamp lies before `before`, that of
    earlier bytes: whichever clock it is of, it is not the one that we know.
    """
    for level, kind, data in told:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
            if abs(wall_s - now - ahead_s) > _STEP_S:
                return now
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            at = seconds + nanoseconds * 1e-9 - ahead_s
            return now if at < before - _STEP_S else min(now, max(before, at))
    return now

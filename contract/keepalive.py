"""The keep-alive race: a server lets go of an idle connection while a request is on its way to it. Nothing was begun there,
so the request is sent again. What was read and then lost is not sent again: it is what a user sees of a server that dies.
"""

import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable

from contract.framing import End, Exchange

# A server that lets go of an idle connection does so at once, on seeing the request or before.
_RACE_S = 1.0
# On top of a round trip: the kernel counts its ticks, and 250 a second is its slowest usual clock.
_CROSSED_S = 0.005
_LOOK_S, _LOOKS = 0.002, 10  # a reset takes the same way as the end of file, right behind it
# In struct tcp_info of Linux. The shortest round trip, not the smoothed one: an engine acknowledges when it answers, which
# makes milliseconds of a microsecond.
_LAST_ACK_RECEIVED_MS_AT, _SHORTEST_ROUND_TRIP_US_AT = 56, 148
_CLOSE_WAIT = 8


def closing(sock: socket.socket) -> bool:
    """Whether the other side has already said that it is done. Right after a request was sent: before it can have read it."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSE_WAIT


def was_read(sock: socket.socket, after_s: float, pause: Callable[[float], object]) -> bool:
    """Of a connection that ended so long after a request was sent, and before a byte came back: whether the other side
    had read it. `pause`: seconds → waits.

    Who had closed before the bytes came acknowledges none of them, and who closes with bytes unread resets the connection:
    some shut it down first, and the reset follows the end of file. Some take what comes after their end and throw it away
    (llama.cpp's server does): their end was on its way when the request was, and is here within a round trip. A server
    that was killed so soon after it had read cannot be told from these.
    """
    told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SHORTEST_ROUND_TRIP_US_AT + 4)
    came_s = after_s - _number(told, _LAST_ACK_RECEIVED_MS_AT) / 1e3  # it may have waited for us to look
    if came_s < 2 * _number(told, _SHORTEST_ROUND_TRIP_US_AT) / 1e6 + _CROSSED_S or not _acknowledged(sock):
        return False
    for _ in range(_LOOKS):
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        pause(_LOOK_S)
    return True


def _number(told: bytes, at: int) -> int:
    return int.from_bytes(told[at : at + 4], sys.byteorder)


def _acknowledged(sock: socket.socket) -> bool:
    """Whether the other side's kernel has taken all bytes that were sent."""
    (left,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    return bool(left == 0)


def lost_unread(exchange: Exchange, heard: bool, read: bool) -> bool:
    """Whether an exchange on a kept connection was lost in the race. `heard`: a byte came back; `read`: the
    other side had read what was sent."""
    if exchange.end is not End.CLOSED or heard or read:
        return False
    assert exchange.sent_at is not None
    assert exchange.ended_at is not None
    return exchange.ended_at - exchange.sent_at < _RACE_S

"""The keep-alive race: a server lets go of an idle connection while a request is on its way to it. Nothing was begun there,
so the ask is sent again. What was read and then lost is not sent again: it is what a user sees of a server that dies.
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
_CROSSED_S = 0.001  # on top of a round trip: what it takes to see that the end is there
_LOOK_S, _LOOKS = 0.002, 10  # a reset takes the same way as the end of file, right behind it
_RTT_AT = 68  # in struct tcp_info of Linux: the smoothed round trip, in microseconds
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
    if after_s < 2 * _round_trip_s(sock) + _CROSSED_S or not _acknowledged(sock):
        return False
    for _ in range(_LOOKS):
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        pause(_LOOK_S)
    return True


def _round_trip_s(sock: socket.socket) -> float:
    told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_AT + 4)
    return float(int.from_bytes(told[_RTT_AT:], sys.byteorder)) / 1e6


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

"""The keep-alive race: a server closes an idle connection while a request is on its way to it. The server did not begin the
request, so it is sent again. A request that was read and then lost is not sent again: users see that when a server dies.
"""

import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable

from contract.framing import End, Exchange

# A server that closes an idle connection does so before the request or as soon as it arrives.
_RACE_S = 1.0
# Added to a round trip: the kernel counts in ticks, at its slowest usual rate 250 a second.
_CROSSED_S = 0.005
_LOOK_S, _LOOKS = 0.002, 10  # a reset follows the end of file on the same path
# In struct tcp_info of Linux. The shortest round trip, not the smoothed one: an engine acknowledges when it answers, which
# turns microseconds into milliseconds.
_LAST_ACK_RECEIVED_MS_AT, _SHORTEST_ROUND_TRIP_US_AT = 56, 148
_CLOSE_WAIT = 8


def closing(sock: socket.socket) -> bool:
    """Whether the peer has already closed its side. Right after a request was sent: before it can have read it."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSE_WAIT


def was_read(sock: socket.socket, after_s: float, pause: Callable[[float], object]) -> bool:
    """Whether the peer had read the request, for a connection that ended `after_s` after it was sent and before a byte came
    back. `pause`: seconds → waits.

    A peer that had closed before the bytes came acknowledges none of them. One that closes with unread bytes resets the
    connection; some shut it down first, and the reset follows the end of file. Some accept and discard what comes after
    their end (llama.cpp's server): their end was already on its way, and arrives within a round trip. A server that was
    killed that soon after it had read the request cannot be distinguished from these.
    """
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SHORTEST_ROUND_TRIP_US_AT + 4)
    came_s = after_s - _number(info, _LAST_ACK_RECEIVED_MS_AT) / 1e3  # it may have waited to be read
    if came_s < 2 * _number(info, _SHORTEST_ROUND_TRIP_US_AT) / 1e6 + _CROSSED_S or not _acknowledged(sock):
        return False
    for _ in range(_LOOKS):
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        pause(_LOOK_S)
    return True


def _number(info: bytes, at: int) -> int:
    return int.from_bytes(info[at : at + 4], sys.byteorder)


def _acknowledged(sock: socket.socket) -> bool:
    """Whether the peer's kernel has acknowledged all bytes that were sent."""
    (left,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    return bool(left == 0)


def lost_unread(exchange: Exchange, heard: bool, read: bool) -> bool:
    """Whether an exchange on a kept connection was lost in the race. `heard`: a byte came back; `read`: the
    peer had read what was sent."""
    if exchange.end is not End.CLOSED or heard or read:
        return False
    assert exchange.sent_at is not None
    assert exchange.ended_at is not None
    return exchange.ended_at - exchange.sent_at < _RACE_S

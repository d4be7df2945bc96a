"""The keep-alive race: a server lets go of an idle connection while a request is on its way to it. Nothing was begun there,
so the ask is sent again. What was read and then lost is not sent again: it is what a user sees of a server that dies.
"""

import fcntl
import struct
import termios

from contract.framing import End, Exchange

# A server that lets go of an idle connection does so at once, on seeing the request or before.
_RACE_S = 1.0


def acknowledged(descriptor: int) -> bool:
    """Whether the other side's kernel has taken all bytes that were sent on this TCP socket.

    At an end of file that comes without a reset this tells that they were read: who closes with bytes unread resets the
    connection, and who had closed before they came acknowledges none of them.
    """
    (left,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))
    return left == 0


def lost_unread(exchange: Exchange, heard: bool, read: bool) -> bool:
    """Whether an exchange on a kept connection was lost in the race. `heard`: a byte came back; `read`: the connection
    ended without a reset, and everything had been acknowledged."""
    if exchange.end is not End.CLOSED or heard or read:
        return False
    assert exchange.sent_at is not None
    assert exchange.ended_at is not None
    return exchange.ended_at - exchange.sent_at < _RACE_S

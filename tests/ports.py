"""Ports for processes that a test starts later, held meanwhile, so that no other process gets them."""

from collections import deque

from embedded.ports import Reserved

# Tests run in parallel, and the kernel gives a released port to the next process that binds. Each port is held until so many
# others were requested, which is longer than any test needs it.
_HELD: deque[Reserved] = deque(maxlen=500)


def held_port() -> int:
    """A port on which no process listens. A process that binds it must share it, by SO_REUSEPORT."""
    _HELD.append(Reserved())
    return _HELD[-1].port

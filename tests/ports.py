"""Ports for what a test starts later: held meanwhile, so that no other process is given them."""

from collections import deque

from embedded.ports import Reserved

# Tests run beside others, and the kernel gives a port that was looked for and let go to whoever binds next. Each is held
# until so many others were asked for, which is longer than any test needs it.
_HELD: deque[Reserved] = deque(maxlen=500)


def held_port() -> int:
    """A port on which nobody listens. Whoever binds it must share it, by SO_REUSEPORT."""
    _HELD.append(Reserved())
    return _HELD[-1].port

"""Free ports that stay ours: bound and held for as long as the stack lives, so that two stacks never meet."""

import random
import socket

# Below the range from which the kernel takes ports for outgoing connections: between the look and the bind of the
# server that gets this port, only another server could take it.
_QUIET = range(20000, 32000)


class Reserved:
    """A port that nobody else is given. Engines share it by SO_REUSEPORT; while none listens, it refuses."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]


def free_port(rng: random.Random) -> int:
    """A port for a server that does not share its own, so that it cannot be held for it."""
    while True:
        port = rng.choice(_QUIET)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

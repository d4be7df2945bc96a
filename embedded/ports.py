"""Free ports that stay reserved: bound for as long as the stack lives, so that two stacks never share one."""

import random
import socket

# Below the kernel's range for outgoing connections: between this check and the server's own bind, only another server
# could take the port.
_QUIET = range(20000, 32000)


class Reserved:
    """A reserved port. Engines share it with SO_REUSEPORT; while none listens, it refuses connections."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]


def free_port(rng: random.Random) -> int:
    """A port for a server that does not set SO_REUSEPORT, so that it cannot be reserved."""
    while True:
        port = rng.choice(_QUIET)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

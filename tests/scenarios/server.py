"""A raw HTTP server on 127.0.0.1 that runs a script per request, in threads. It can violate the protocol as needed."""

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

# A step: a number of seconds to wait, an event to wait for, bytes to send, once or without an end, or one of
CLOSE, RST, HANG = "close", "rst", "hang"


@dataclass(frozen=True)
class Endless:
    """Bytes that are sent again and again, until the client leaves or the server ends."""

    part: bytes
    pause_s: float = 0.0


Step = float | threading.Event | bytes | str | Endless


class Server:
    """Runs the scripts in turn, one per request, and repeats the last one."""

    def __init__(self, *scripts: Sequence[Step], tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.scripts, self._tls = scripts, tls
        self.requests: list[bytes] = []
        self.connections: list[socket.socket] = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        # A given port is reserved by a stack, which shares it.
        self._listener = socket.create_server(("127.0.0.1", port), reuse_port=bool(port))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # close alone does not close a listener with a pending accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Close every connection."""
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already
            connection.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self.connections.append(connection)
            while request := _read_request(connection):
                with self._lock:
                    script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
                    self.requests.append(request)
                for step in script:
                    if not self._run_step(connection, step):
                        return
        except OSError:
            pass  # the client left

    def _run_step(self, connection: socket.socket, step: Step) -> bool:
        if isinstance(step, bytes):
            connection.sendall(step)
        elif isinstance(step, Endless):
            while not self._over.wait(step.pause_s):
                connection.sendall(step.part)
        elif step == HANG:
            self._over.wait()
        elif isinstance(step, threading.Event):
            step.wait()
        elif step in (CLOSE, RST):
            if step == RST:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            return False
        else:
            time.sleep(float(step))
        return True


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length_header = re.search(rb"content-length: (\d+)", head.lower())
    length = int(length_header[1]) if length_header else 0
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body

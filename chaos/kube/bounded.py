"""Bounds every response of the Kubernetes API in time and size, whatever a server or a proxy before it sends.

urllib3 and http.client bound each read only, and read interim responses, chunk sizes and trailers for as long as they come. So
the bound is below them, where the bytes come from the socket.
"""

import http.client
import io
import socket
import time
from typing import Any

from urllib3 import connectionpool, poolmanager
from urllib3.connection import HTTPConnection, HTTPSConnection

WITHIN_S = 20.0  # for a whole response; a watch has its own longer timeout
MOST_HEAD = 256 * 1024  # bytes until the head of the response is read, interim responses included
MOST_BYTES = 256 * 1024 * 1024  # of a response in total, which only a watch comes near


class _Socket(io.RawIOBase):
    """The bytes of one response."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)
        self._each_s = sock.gettimeout()
        self._until = time.monotonic() + max(WITHIN_S, self._each_s or 0.0)
        self._left = MOST_HEAD

    def head_is_read(self) -> None:
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError at the deadline, HTTPException beyond the size."""
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the response is not whole in time")
        if self._left <= 0:
            raise http.client.HTTPException("a response without an end")
        self._sock.settimeout(left_s if self._each_s is None else min(self._each_s, left_s))
        count = self._raw.readinto(buffer) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self._bytes = _Socket(sock)
        self.fp = io.BufferedReader(self._bytes)

    def begin(self) -> None:
        super().begin()
        self._bytes.head_is_read()


class _Plain(HTTPConnection):
    response_class = _Response


class _Tls(HTTPSConnection):
    response_class = _Response


class _PlainPool(connectionpool.HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(connectionpool.HTTPSConnectionPool):
    ConnectionCls = _Tls


def bound(pools: poolmanager.PoolManager) -> poolmanager.PoolManager:
    """The same pools; their connections are bounded."""
    pools.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
    return pools

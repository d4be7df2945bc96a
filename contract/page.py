"""Gets one small page over HTTP: health, metrics, a list of models. One request, bounded in time and size, without redirects.

One client for every wing: it sends the query and the given headers, and trusts the given authority.
"""

import socket
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from contract.framing import End, Exchange, Framing
from contract.trust import kept_context

LARGEST = 2**20


def get(
    url: str,
    within_s: float,
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
    largest: int = LARGEST,
) -> Exchange:
    """Send one GET; see `send`."""
    return send("GET", url, within_s, headers, ca_file, largest=largest)


def send(
    method: str,
    url: str,
    within_s: float,
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
    payload: bytes | None = None,
    largest: int = LARGEST,
) -> Exchange:
    """Send one request. Errors are in the exchange; its `end` is COMPLETE if a whole response came.

    `within_s`: for the whole request, connecting included (the system's resolver bounds a name lookup). `payload`: JSON;
    None: no body. `largest`: bytes of the answer's body; a larger one ends the exchange. The client itself sets `Host`,
    `Accept-Encoding` and the headers that describe the payload.
    """
    exchange = Exchange()
    framing = Framing(exchange)
    until = time.monotonic() + within_s
    exchange.sent_at = time.monotonic()
    try:
        sock = _connected(url, until, ca_file)
    except (OSError, ValueError) as e:  # ValueError: an invalid host name
        framing.given_up(End.REFUSED, time.monotonic(), f"{type(e).__name__}: {e}")
        return exchange
    try:
        exchange.sent_at = time.monotonic()
        sock.sendall(_request(method, url, headers or {}, payload))
        size = 0
        looked = False
        while not framing.done:
            left = until - time.monotonic()
            if left <= 0 and looked:
                raise TimeoutError
            looked = left <= 0  # one more read: this process may have stalled while the bytes arrived
            sock.settimeout(max(0.001, left))
            data = sock.recv(65536)
            at = time.monotonic()
            size += len(data)
            if not data:
                framing.closed(at)
            elif size > largest:
                framing.given_up(End.UNPARSABLE, at, f"more than {largest} bytes")
            else:
                framing.feed(data, at)
    except TimeoutError:
        end = End.LATE if exchange.headers_at is None else End.SILENT
        framing.given_up(end, time.monotonic(), f"no whole page in {within_s:g} s")
    except OSError as e:
        framing.closed(time.monotonic(), f"{type(e).__name__}: {e}")
    finally:
        sock.close()
    return exchange


def body(exchange: Exchange) -> bytes:
    """The received bytes of the body."""
    return b"".join(piece for _, piece in exchange.pieces)


def shown(url: str) -> str:
    """A url for messages, without its query, which may be secret."""
    return url.split("?", 1)[0]


def _connected(url: str, until: float, ca_file: str | None) -> socket.socket:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    assert parts.hostname, "a topology's urls have been checked"
    sock = socket.create_connection(
        (parts.hostname, parts.port or (443 if tls else 80)), timeout=_left(until)
    )
    if not tls:
        return sock
    try:
        sock.settimeout(_left(until))
        return kept_context(ca_file).wrap_socket(sock, server_hostname=parts.hostname)
    except BaseException:
        sock.close()
        raise


def _request(method: str, url: str, headers: Mapping[str, str], payload: bytes | None) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Accept-Encoding: identity",
        "Connection: close",
    ]
    if payload is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (payload or b"")


def _left(until: float) -> float:
    return max(0.001, until - time.monotonic())

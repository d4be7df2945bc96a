"""Which requests the web UI accepts: those of its own pages, and those of programs that are not browsers.

A page of any site can make a browser send requests to a port of this machine. A name of that site that resolves to this machine
lets it read the answers as well (DNS rebinding). A browser reports both: the name in Host, the sending page in Origin, Referer
and Sec-Fetch-Site. A program that sends none of the last three is not a browser, and no page controls it.
"""

import argparse
import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

LOOPBACK = "127.0.0.1"
ALL_ADDRESSES = ("", "*", "0.0.0.0", "::")
_LOCAL = ("localhost", LOOPBACK, "[::1]")
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)
_ORIGIN = re.compile(r"(https?)://([^/?#@\\\s]+)", re.ASCII)
_TEXT_MOST = 80

# In every answer: no page of another site may frame it, load it, or read it as another type.
_HEADERS = [
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
]


@dataclass(frozen=True)
class Origin:
    """The origin of a page."""

    scheme: str
    host: str  # in lower case; an IPv6 address in brackets
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def web_origin(text: str) -> Origin:
    """The type of `--web-origin`. Raises ArgumentTypeError."""
    found = _origin(text.removesuffix("/"))
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an origin; write it like https://load.example.com")
    return found


def is_loopback(host: str) -> bool:
    """Whether only processes of this machine can reach a socket that is bound to this address or name."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def addresses_here() -> set[str]:
    """The IP addresses of this machine."""
    return {a.address.partition("%")[0] for found in psutil.net_if_addrs().values() for a in found}


class Access:
    """The hosts and origins of the web UI."""

    def __init__(
        self, web_host: str, origins: Collection[Origin], here: Callable[[], Collection[str]] = addresses_here
    ) -> None:
        """`web_host`: the address or name that it listens on. `origins`: further ones, from `--web-origin`.

        `here`: the addresses of this machine, used where it listens on all of them.
        """
        name = web_host.lower()
        self._all = name.strip("[]") in ALL_ADDRESSES
        self._origins, self._here = frozenset(origins), here
        own = "0.0.0.0" if self._all else f"[{name.strip('[]')}]" if ":" in name else name
        self._hosts = {*_LOCAL, own}
        self._proxied = {origin.host for origin in origins}

    def refusal(self, environ: Mapping[str, Any]) -> str | None:
        """Why a request is refused, by its WSGI environment; None: it is accepted."""
        host = environ.get("HTTP_HOST", "")
        ours = _origin(f"{environ['wsgi.url_scheme']}://{host}")
        if ours is None or not (self._is_own(ours.host) or ours.host in self._proxied):
            return f"the host {_shown(host)} is not this web UI's; open it by its address, or allow the name with --web-origin"
        for header in ("HTTP_ORIGIN", "HTTP_REFERER"):
            text = environ.get(header)
            if text is not None and not self._is_own_page(text, ours, whole=header == "HTTP_ORIGIN"):
                return f"a page of {_shown(text)} sent this request; only pages of this web UI may, or those of a --web-origin"
        site = environ.get("HTTP_SEC_FETCH_SITE", "none")
        if site not in ("same-origin", "none"):
            return f"a page of another origin sent this request ({_shown(site)}); enter the address in the browser's address bar"
        return None

    def _is_own_page(self, text: str, ours: Origin, whole: bool) -> bool:
        found = _origin(text, whole)
        return found is not None and (found in self._origins or (found == ours and self._is_own(ours.host)))

    def _is_own(self, host: str) -> bool:
        if host in self._hosts:
            return True
        # A name could be any site's; an address of this machine could not.
        return self._all and host.strip("[]") in self._here()


class Guarded:
    """A WSGI application that gets only the requests that `access` accepts, and allows no other origin to read an answer."""

    def __init__(self, app: Callable[..., Iterable[bytes]], access: Access) -> None:
        self._app, self._access = app, access

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        why = self._access.refusal(environ)
        if why is not None:
            body = f"refused: {why}\n".encode()
            plain = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
            start_response("403 Forbidden", plain + _HEADERS)
            return [body]

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            kept = [
                (name, value) for name, value in headers if not name.lower().startswith("access-control-")
            ]
            return start_response(status, kept + _HEADERS, *more)

        return self._app(environ, start)


def _origin(text: str, whole: bool = True) -> Origin | None:
    """`whole`: nothing may follow the host and port; otherwise a path may."""
    text = text.lower()
    head = _ORIGIN.fullmatch(text) if whole else _ORIGIN.match(text)
    host = _HOST.fullmatch(head[2]) if head else None
    if head is None or host is None or (not whole and text[head.end() :][:1] not in ("", "/", "?", "#")):
        return None
    port = int(host[2]) if host[2] else _PORTS[head[1]]
    return Origin(head[1], host[1], port) if 0 < port < 65536 else None


def _shown(text: str) -> str:
    """Foreign text as printable ASCII, cut to a line."""
    return ascii(text if len(text) <= _TEXT_MOST else text[:_TEXT_MOST] + "…")

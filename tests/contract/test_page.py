"""One small page: what is sent, and that every caller is bounded in time and size, whatever answers."""

import json
import threading
from collections.abc import Callable

import pytest

from chaos.probe import serving
from contract import health, metrics_page, page
from contract.endpoint import Endpoint
from contract.framing import End
from contract.health import HealthUrl
from contract.topology import Server as RequestInfo
from embedded import stack
from tests import tls
from tests.contract.exchanges import head
from tests.ports import held_port
from tests.scenarios.server import CLOSE, HANG, RST, Server

OK = head("200 OK", "content-length: 2") + b"hi"


def test_the_query_and_the_headers_are_sent():
    with Server([OK]) as server:
        found = page.get(f"{server.url}/health?model=a&x=%20", 5, {"Authorization": "Bearer k"})
    request, *lines = server.requests[0].decode().split("\r\n")
    assert (found.status, found.end, page.body(found)) == (200, End.COMPLETE, b"hi")
    assert request == "GET /health?model=a&x=%20 HTTP/1.1"
    assert {f"Host: 127.0.0.1:{server.port}", "Authorization: Bearer k", "Accept-Encoding: identity"} <= {
        *lines
    }


def test_a_payload_is_sent_with_what_describes_it():
    with Server([OK]) as server:
        found = page.send("PUT", f"{server.url}/faults", 5, payload=b'{"a": 1}')
    sent, _, payload = server.requests[0].decode().partition("\r\n\r\n")
    request, *lines = sent.split("\r\n")
    assert (found.status, request, payload) == (200, "PUT /faults HTTP/1.1", '{"a": 1}')
    assert {"Content-Type: application/json", "Content-Length: 8"} <= {*lines}


def test_a_url_without_a_path_is_its_root():
    with Server([OK]) as server:
        page.get(f"{server.url}?a=1", 5)
    assert server.requests[0].startswith(b"GET /?a=1 HTTP/1.1\r\n")


def test_a_redirect_is_not_followed():
    with Server([head("302 Found", "location: /elsewhere", "content-length: 0")]) as server:
        found = page.get(f"{server.url}/here", 5, {"Authorization": "Bearer k"})
    assert (found.status, len(server.requests)) == (302, 1)


@pytest.mark.parametrize(
    ("script", "end", "words"),
    [
        ([HANG], End.LATE, "no whole page in 1 s"),
        ([head("200 OK", "content-length: 5") + b"h", HANG], End.SILENT, "no whole page in 1 s"),
        (
            [b"H", 0.4, b"T", 0.4, b"T", 0.4, b"P", HANG],
            End.LATE,
            "no whole page in 1 s",
        ),  # each byte is in time
        ([head("200 OK", "content-length: 5") + b"h", CLOSE], End.CLOSED, "connection closed"),
        ([RST], End.CLOSED, "ConnectionResetError"),
        ([b"SSH-2.0-OpenSSH\r\n", CLOSE], End.UNPARSABLE, "not HTTP"),
        ([head("200 OK", "content-length: 9999") + b"x" * 9999], End.UNPARSABLE, "more than 1000 bytes"),
    ],
)
def test_a_page_that_is_not_whole_ends_in_time_with_an_error(script, end, words):
    with Server(script) as server:
        found = page.get(server.url, 1.0, largest=1000)
    assert found.end is end
    assert words in (found.error or "")


def test_a_closed_port_and_an_invalid_host_name_are_refused():
    for url in (f"http://127.0.0.1:{held_port()}", "http://no..name:1"):
        found = page.get(url, 5)
        assert (found.end, found.status) == (End.REFUSED, None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return tls.certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_is_trusted_only_by_its_own_authority(certificate, trusted):
    file, context = certificate
    with Server([OK], tls=context) as server:
        found = page.get(server.url, 5, ca_file=str(file) if trusted else None)
    assert (found.status == 200) is trusted
    assert trusted or "certificate verify failed" in (found.error or "")


def test_a_server_that_takes_no_connection_is_given_up_in_time():
    with Server([OK]) as server:
        over = threading.Event()
        server.scripts = ([over],)
        found = page.get(server.url, 0.2)
        over.set()
    assert found.end is End.LATE


def _health(url: str, ca_file: str | None) -> bool:
    found = health.check(HealthUrl("vllm", url, RequestInfo(ca_file=ca_file)), {})
    return found.status == 200 and found.end is End.COMPLETE


def _metrics(url: str, ca_file: str | None) -> bool:
    try:
        return bool(metrics_page.read(metrics_page.Page("vllm", url, {}, ca_file), within_s=1.0))
    except (OSError, ValueError):
        return False


def _models(url: str, ca_file: str | None) -> bool:
    try:
        return serving.models(Endpoint.of(url, "m", ca_file=ca_file)) == ["m"]
    except (OSError, ValueError):
        return False


def _stack(url: str, ca_file: str | None) -> bool:
    return stack._answers(url)


CALLERS: dict[str, Callable[[str, str | None], bool]] = {
    "health": _health, "metrics": _metrics, "models": _models, "stack": _stack,
}  # fmt: skip
LISTED = json.dumps({"data": [{"id": "m"}]}).encode()
GOOD = head("200 OK", f"content-length: {len(LISTED)}") + LISTED
OWN = {"stack"}  # gets pages only of its own servers, which have no TLS
callers = pytest.mark.parametrize("caller", CALLERS)


@pytest.mark.parametrize("caller", sorted({*CALLERS} - {"models"}))  # its base url is refused with a query
def test_every_caller_sends_the_query_of_a_page(caller):
    with Server([GOOD]) as server:
        assert CALLERS[caller](f"{server.url}/health?model=a", None)
    assert server.requests[0].startswith(b"GET /health?model=a HTTP/1.1\r\n")


@callers
@pytest.mark.parametrize("trusted", [True, False])
def test_every_caller_trusts_only_the_given_authority(caller, trusted, certificate):
    file, context = certificate
    with Server([GOOD], tls=context) as server:
        good = CALLERS[caller](server.url, str(file) if trusted else None)
    assert good is (trusted and caller not in OWN)


@callers
@pytest.mark.parametrize(
    "script",
    [
        [head("302 Found", "location: /elsewhere", "content-length: 0")],
        [HANG],
        [head("200 OK", "content-length: 5") + b"h", HANG],
        [head("200 OK", "content-length: 1000000000"), *[b"x" * 2**20] * 1000],
    ],
    ids=["redirect", "nothing comes", "half of it comes", "too much comes"],
)
def test_every_caller_follows_no_redirect_and_is_bounded_in_time_and_size(caller, script):
    with Server(script) as server:
        good = CALLERS[caller](server.url, None)
    assert (good, len(server.requests)) == (False, 1)


class _Dripping:
    """A socket on which one more byte has always come already."""

    def __init__(self) -> None:
        self._first = [head("200 OK", "content-length: 99999999")]

    def recv(self, most: int) -> bytes:
        return self._first.pop() if self._first else b"x"

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_deadline_holds_while_bytes_keep_coming(monkeypatch):
    monkeypatch.setattr(page, "_connected", lambda *_: _Dripping())
    found = page.get("http://127.0.0.1:1", 0.05)
    assert (found.end, found.error) == (End.SILENT, "no whole page in 0.05 s")

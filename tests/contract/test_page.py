"""One small page: what is sent, and that nothing that answers can hold the client up or fill it."""

import threading

import pytest

from contract import page
from contract.framing import End
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
    ("script", "end", "said"),
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
def test_whatever_does_not_come_whole_ends_in_time_and_says_so(script, end, said):
    with Server(script) as server:
        found = page.get(server.url, 1.0, largest=1000)
    assert found.end is end
    assert said in (found.error or "")


def test_nobody_there_and_a_name_that_no_lookup_takes_are_refused():
    for url in (f"http://127.0.0.1:{held_port()}", "http://no..name:1"):
        found = page.get(url, 5)
        assert (found.end, found.status) == (End.REFUSED, None)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_is_believed_by_its_own_authority_alone(tmp_path, trusted):
    file, context = tls.certificate(tmp_path)
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

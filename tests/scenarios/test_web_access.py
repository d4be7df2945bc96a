"""Only pages of the web UI itself, and programs that are not browsers, may send it a request."""

import argparse

import pytest

from scenarios.gateway.web_access import Access, Guarded, addresses_here, is_loopback, web_origin

PROXY = "https://load.example.com"


def refusal_of(access, scheme="http", **headers):
    return access.refusal({"wsgi.url_scheme": scheme} | {f"HTTP_{k.upper()}": v for k, v in headers.items()})


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8089"},
        {"host": "localhost:8089"},
        {"host": "LOCALHOST"},
        {"host": "[::1]:8089", "origin": "http://[::1]:8089"},
        {
            "host": "localhost:9000",
            "origin": "http://localhost:9000",
            "sec_fetch_site": "same-origin",
        },  # a tunnel
        {"host": "127.0.0.1:8089", "sec_fetch_site": "none"},
        {"host": "127.0.0.1:8089", "referer": "http://127.0.0.1:8089/?tab=charts"},
        {"host": "127.0.0.1:80", "origin": "http://127.0.0.1"},
    ],
)
def test_its_own_pages_and_programs_may(headers):
    assert refusal_of(Access("127.0.0.1", ()), **headers) is None


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "the host '' is not this web UI's"),
        ({"host": ""}, "the host ''"),
        ({"host": "evil.example:8089"}, "the host 'evil.example:8089'"),
        ({"host": "127.0.0.1.evil.example:8089"}, "the host"),
        ({"host": "localhost.:8089"}, "the host"),
        ({"host": "localhost:8089@evil.example"}, "the host"),
        ({"host": "evil.example/127.0.0.1"}, "the host"),
        ({"host": "127.0.0.1:8089,evil.example"}, "the host"),
        ({"host": "127.0.0.1:99999"}, "the host"),
        ({"host": "127.0.0.1:"}, "the host"),
        ({"host": "0.0.0.0:8089"}, "the host"),
        ({"host": "192.168.1.5:8089"}, "the host"),
        ({"host": "١٢٧.0.0.1"}, "the host"),
        ({"host": "127.0.0.1:8089", "origin": "http://evil.example"}, "a page of 'http://evil.example'"),
        ({"host": "127.0.0.1:8089", "origin": "null"}, "a page of 'null'"),
        ({"host": "127.0.0.1:8089", "origin": ""}, "a page of ''"),
        ({"host": "127.0.0.1:8089", "origin": "http://127.0.0.1:8090"}, "a page of"),
        ({"host": "127.0.0.1:8089", "origin": "https://127.0.0.1:8089"}, "a page of"),
        ({"host": "127.0.0.1:8089", "origin": "http://localhost:8089"}, "a page of"),
        ({"host": "127.0.0.1:8089", "origin": "http://127.0.0.1:8089/"}, "a page of"),
        ({"host": "127.0.0.1:8089", "origin": "http://127.0.0.1:8089, http://evil.example"}, "a page of"),
        ({"host": "127.0.0.1:8089", "referer": "http://evil.example/http://127.0.0.1:8089/"}, "a page of"),
        ({"host": "127.0.0.1:8089", "referer": "http://127.0.0.1:8089@evil.example/"}, "a page of"),
        ({"host": "127.0.0.1:8089", "referer": "http://127.0.0.1:8089\\@evil.example/"}, "a page of"),
        ({"host": "127.0.0.1:8089", "referer": "http://127.0.0.1:80890/"}, "a page of"),
        ({"host": "127.0.0.1:8089", "referer": "about:blank"}, "a page of"),
        ({"host": "127.0.0.1:8089", "sec_fetch_site": "cross-site"}, "another origin sent this request"),
        ({"host": "127.0.0.1:8089", "sec_fetch_site": "same-site"}, "another origin sent this request"),
        ({"host": "127.0.0.1:8089", "sec_fetch_site": "none,cross-site"}, "another origin"),
        (
            {"host": "127.0.0.1:8089", "origin": "http://127.0.0.1:8089", "referer": "http://evil.example/"},
            "a page of 'http://evil.example/'",
        ),
    ],
)
def test_a_foreign_host_or_page_is_refused(headers, words):
    assert words in refusal_of(Access("127.0.0.1", ()), **headers)


def test_foreign_text_is_cut_and_printable():
    why = refusal_of(Access("", ()), host="\x1b[31m<b>\n" + "x" * 5000)
    assert why.isascii()
    assert why.isprintable()
    assert len(why) < 300


def test_the_address_that_it_listens_on_is_its_own():
    assert refusal_of(Access("10.1.2.3", ()), host="10.1.2.3:8089") is None
    assert refusal_of(Access("Gpu1.lan", ()), host="gpu1.lan:8089", origin="http://gpu1.lan:8089") is None
    assert refusal_of(Access("fd00::5", ()), host="[fd00::5]:8089") is None


@pytest.mark.parametrize("every", ["", "*", "0.0.0.0", "::"])
def test_on_all_addresses_those_of_this_machine_are_its_own_and_no_name_is(every):
    access = Access(every, (), lambda: {"10.1.2.3", "fd00::5"})
    for own in ("10.1.2.3:8089", "[fd00::5]:8089", "0.0.0.0:8089", "localhost"):
        assert refusal_of(access, host=own) is None
    for other in ("10.1.2.4:8089", "evil.example:8089", "gpu1"):
        assert refusal_of(access, host=other)
    assert "127.0.0.1" in addresses_here()


@pytest.mark.parametrize("host", ["127.0.0.1:8089", "load.example.com"])  # a proxy sets Host, or passes it on
def test_behind_a_proxy_its_origin_is_accepted(host):
    access = Access("127.0.0.1", (web_origin(PROXY),))
    assert (
        refusal_of(access, host=host, origin=PROXY, referer=f"{PROXY}/x", sec_fetch_site="same-origin")
        is None
    )
    assert refusal_of(access, host=host, origin="http://load.example.com")
    assert refusal_of(access, host=host, origin=f"{PROXY}:8443")
    assert refusal_of(access, host=host, origin=f"{PROXY}.evil.example")


@pytest.mark.parametrize(
    "text", ["load.example.com", "https://", "ftp://x", "https://x/path", "https://*.example.com", "null", "https://x:0", "https://u@x"]
)  # fmt: skip
def test_what_is_no_origin_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not an origin; write it like https://"):
        web_origin(text)


def test_the_text_of_an_origin_is_as_a_browser_sends_it():
    for text, same in (("https://Load.Example.com:443/", PROXY), ("http://[::1]:8089", "http://[::1]:8089")):
        assert str(web_origin(text)) == same


def answered(headers, **environ):
    seen = {}

    def app(environ, start):
        start(
            "200 OK",
            [("Access-Control-Allow-Origin", "*"), ("ACCESS-control-allow-credentials", "true"), ("X", "1")],
        )
        return [b"ok"]

    def start(status, headers, *more):
        seen.update(status=status, headers=dict(headers))

    body = b"".join(Guarded(app, Access("127.0.0.1", ()))({"wsgi.url_scheme": "http"} | headers, start))
    return seen["status"], seen["headers"], body


def test_no_answer_may_be_read_by_another_origin():
    status, headers, body = answered({"HTTP_HOST": "localhost"})
    assert (status, body, headers["X"]) == ("200 OK", b"ok", "1")
    assert not [name for name in headers if name.lower().startswith("access-control-")]
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_refusal_is_a_403_with_a_sentence_and_the_application_gets_no_request():
    status, headers, body = answered({"HTTP_HOST": "evil.example"})
    assert status == "403 Forbidden"
    assert body.startswith(b"refused: the host 'evil.example' is not this web UI's; open it by its address")
    assert headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True), ("", False), ("*", False),
     ("0.0.0.0", False), ("10.0.0.1", False), ("gpu1", False)],
)  # fmt: skip
def test_which_addresses_only_this_machine_reaches(host, local):
    assert is_loopback(host) is local

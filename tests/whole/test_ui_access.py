"""Locust's web UI and a page of another site: it can neither start or stop a run nor read anything."""

import http.client
import urllib.parse

import pytest

from tests.scenarios.server import Server
from tests.whole.stack import SHORT, with_urls
from tests.whole.test_ui import ANSWERS, UNREPORTED
from tests.whole.ui import Ui

READ = (
    "/", "/stats/requests", "/stats/requests/csv", "/stats/failures/csv", "/exceptions/csv", "/exceptions", "/tasks", "/logs",
    "/stats/report", "/stats/report?download=1", "/worker-count", "/login", "/assets/favicon-dark.png", "/no-such-page",
)  # fmt: skip
CHANGE = ("/swarm", "/stop", "/stats/reset", "/user")
PROXY = "https://load.example.com"
FORM = {"user_count": 6, "spawn_rate": 6}


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    folder = tmp_path_factory.mktemp("access")
    (folder / "t.yaml").write_text(SHORT)
    with (
        Server([1.0, ANSWERS]) as server,
        Ui(
            with_urls(folder, server.port), folder / "t.yaml", folder / "results", *UNREPORTED, "--web-origin", PROXY
        ) as ui,
    ):  # fmt: skip
        yield ui


def sent(ui, method, path, form=FORM, **headers):
    """The answer's status, headers and body. Header names with _ for -."""
    at = urllib.parse.urlsplit(ui.url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    body = urllib.parse.urlencode(form) if method == "POST" else None
    if body is not None:
        given |= {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode(errors="replace")
    finally:
        connection.close()


def foreign(ui):
    port = urllib.parse.urlsplit(ui.url).port
    return (
        {"Host": f"evil.example:{port}"},
        {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}", "Sec_Fetch_Site": "same-origin"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": f"http://localhost:{port}"},
        {"Origin": "null"},
        {"Referer": "http://evil.example/page"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    )  # fmt: skip


def test_a_foreign_page_can_neither_read_nor_change_anything(ui):
    for headers in foreign(ui):
        for method, paths in (("GET", READ), ("HEAD", READ), ("POST", CHANGE), ("OPTIONS", (*READ, *CHANGE))):
            for path in paths:
                status, answered, body = sent(ui, method, path, **headers)
                assert status == 403, (method, path, headers)
                assert method == "HEAD" or body.startswith("refused: ")
                assert not [name for name in answered if name.lower().startswith("access-control-")]
    assert (ui.stats()["state"], ui.runs()) == ("ready", [])


def test_no_answer_is_readable_by_another_origin(ui):
    for path in READ:
        status, answered, _ = sent(ui, "GET", path, Origin=ui.url)
        assert status in (200, 302, 404), path
        assert not [name for name in answered if name.lower().startswith("access-control-")]
        assert answered["Content-Security-Policy"] == "frame-ancestors 'none'"


def test_what_changes_state_is_a_post(ui):
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        for path in CHANGE:
            assert sent(ui, method, path)[0] == 405
    assert ui.stats()["state"] == "ready"


def test_the_origin_of_a_proxy_is_accepted_where_it_is_named(ui):
    for host in ({}, {"Host": "load.example.com"}):
        assert sent(ui, "GET", "/stats/requests", Origin=PROXY, **host)[0] == 200
        assert sent(ui, "POST", "/stats/reset", Origin=PROXY, Sec_Fetch_Site="same-origin", **host)[0] == 200
        assert sent(ui, "POST", "/stats/reset", Origin="http://load.example.com", **host)[0] == 403


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"without_reaper": "true"}, "--without-reaper: is set on the command line and cannot be changed here"),
        ({"without_reaper": "False"}, "--without-reaper: is set on the command line"),
        ({"results": "/elsewhere"}, "--results: is set on the command line"),
        ({"topology": "topologies/k3s.yaml"}, "--topology: is set on the command line"),
        ({"max_in_flight": "1000"}, "--max-in-flight: is set on the command line"),
        ({"web_origin": "[]"}, "--web-origin: is set on the command line"),
        ({"shape_class": "Default"}, "'shape_class': is not a field of the form; remove it"),
        ({"nonsense": "None"}, "'nonsense': is not a field of the form; remove it"),
        ({"timeline": ["t.yaml", "other.yaml"]}, "'timeline': is given 2 times; give it once"),
        ({"user_count": ["6", "6000"]}, "'user_count': is given 2 times; give it once"),
    ],
)  # fmt: skip
def test_a_key_that_the_form_does_not_show_is_refused_and_changes_nothing(ui, form, words):
    pairs = [
        (k, v) for k, given in (FORM | form).items() for v in (given if isinstance(given, list) else [given])
    ]
    status, _, body = sent(ui, "POST", "/swarm", pairs)
    assert (status, words in body) == (200, True), body
    assert '"success":false' in body.replace(" ", "")
    assert (ui.stats()["state"], ui.runs()) == ("ready", [])


def test_user_classes_cannot_be_changed(ui):
    status, _, body = sent(ui, "POST", "/user", {"user_class_name": "ChatUser"})
    assert (status, body) == (
        403,
        "refused: user classes cannot be changed here; choose scenarios in the form\n",
    )


def test_a_form_is_bounded(ui):
    status, _, _ = sent(ui, "POST", "/swarm", FORM | {"timeline": "x" * 2_000_000})
    assert status == 413

"""The lines of a request, a change and the whole watch; and which characters of a server never reach a terminal."""

import io
import json
import time

import pytest

from chaos.watch.error_text import error_text, kind
from chaos.watch.lines import closing, plain, request_line, waiting_line
from chaos.watch.objects import Objects
from chaos.watch.screen import Screen, coloured, wrapped
from contract.foreign import without
from contract.printable import cells, clean, narrowed, shortened
from tests.chaos.watched import Replay, bad, request

COOLING = (
    "429: No deployments available for selected model, Try again in 30 seconds. All deployments for selected model "
    "are in cooldown. Passed model=vllm-qwen."
)
LITELLM = "500: litellm.InternalServerError: InternalServerError: OpenAIException - Connection error."


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def line(record, place=None, text="", room=None, n=4) -> str:
    return plain(request_line(n, record, record.route_group, place, text, room))


@pytest.mark.parametrize(
    ("record", "place", "text", "shown"),
    [
        (request(0, "ollama"), 1, "Hello!", '[00:00:00] #4 FALLBACK ollama 400 ms, TTFT 100 ms "Hello!"'),
        (request(0, "vllm", 1.24), 0, "Hi", '[00:00:00] #4 PRIMARY  vllm 1.24 s, TTFT 100 ms "Hi"'),
        (request(0, "vllm", stream=False), 0, "Hi", '[00:00:00] #4 PRIMARY  vllm 400 ms "Hi"'),
        (request(0, "vllm", witness="none"), 0, "", "[00:00:00] #4 PRIMARY  vllm 400 ms, TTFT 100 ms unverified"),
        (request(0), None, "Hi", '[00:00:00] #4 UNKNOWN  the gateway 400 ms, TTFT 100 ms "Hi"'),
        (
            request(0, "vllm", outcome="cut", error="finish_reason stop at 4 of 8 tokens"), 0, "Hel",
            '[00:00:00] #4 CUT      vllm 400 ms, TTFT 100 ms finish_reason stop at 4 of 8 tokens "Hel"',
        ),
        (bad(0, error=LITELLM), None, "", "[00:00:00] #4 FAILED   after 100 ms, 500: OpenAIException - Connection error."),
        (
            bad(0, status=429, error=COOLING), None, "",
            "[00:00:00] #4 FAILED   after 100 ms, 429: all in cooldown (not a rate limit)",
        ),
    ],
)  # fmt: skip
def test_a_line_for_each_request(record, place, text, shown):
    assert line(record, place, text) == shown


def test_with_room_the_headers_that_name_the_tier_are_shown():
    record = request(0, "ollama", route_group="ollama-qwen", route_api_base="http://10.0.0.7:11434")
    shown = plain(request_line(1, record, "ollama", 1, "Hello!", 200))
    assert "FALLBACK ollama (ollama-qwen @ http://10.0.0.7:11434) 400 ms" in shown
    assert "10.0.0.7" not in plain(request_line(1, record, "ollama", 1, "Hello!", 80))


@pytest.mark.parametrize("room", [50, 80, 120, 200])
@pytest.mark.parametrize(
    "text",
    ["Hello " * 40, "你好，世界。" * 20, "a\u0301\u0327" * 90, "👋🏽" * 30],
    ids=["letters", "wide", "accents", "emoji"],
)
def test_a_line_is_no_wider_than_the_terminal(room, text):
    long = request(0, "hosted_vllm/Qwen/Qwen2.5-Coder-32B-Instruct-GPTQ-Int4-and-more")
    for record in (request(0, "vllm"), long, bad(0, error="500: " + "word " * 60)):
        rows = wrapped(request_line(4, record, record.route_group, 0, clean(text), room), room, 11)
        assert all(cells(plain(row)) <= room for row in rows)


@pytest.mark.parametrize(
    ("record", "counted", "text"),
    [
        (bad(0, status=429, error=COOLING), "429 (all in cooldown)", "429: all in cooldown (not a rate limit)"),
        (bad(0, status=429, error="429: Rate limit reached"), "429", "429: Rate limit reached"),
        (bad(0, "refused", error="ConnectionRefusedError: [Errno 111] Connection refused"), "refused", "no connection: Connection refused"),
        (bad(0, "refused", error="gaierror: [Errno -2] Name or service not known"), "refused", "no connection: Name or service not known"),
        (
            bad(0, "refused", error="SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)"),
            "refused", "no connection: certificate verify failed: self-signed certificate",
        ),
        (bad(0, "timeout", error="no first token in 30 s"), "timeout", "timeout: no first token in 30 s"),
        (bad(0, "broken", error="ConnectionResetError: [Errno 104] Connection reset by peer"), "broken", "broken: Connection reset by peer"),
        (bad(0, status=400, error="400: No connected db."), "400", "400: No connected db. (LiteLLM's word for a key that is not its master key)"),
        (bad(0, status=401, error="401: Authentication Error"), "401", "401: Authentication Error (check the gateway's key)"),
    ],
)  # fmt: skip
def test_the_text_of_an_error(record, counted, text):
    assert (kind(record), error_text(record)) == (counted, text)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("Hello,\n\tworld \r\n", "Hello, world"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07", "[31mred[0m ]0;title"),
        ("\x9b31m \x90 \x85", "31m"),  # the same in one byte
        ("a\x00b\x08c\x7fd", "abcd"),
        ("right\u202eleft\u2066", "rightleft"),  # changes the direction of writing
        ("\ud800 Grüße, 你好 👋", "Grüße, 你好 👋"),  # half a character, as JSON can encode it
    ],
)
def test_no_control_character_reaches_the_terminal(sent, shown):
    assert clean(sent) == shown


KEY = "sk-" + "0123456789abcdef"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (f"Bearer {KEY} is wrong", "Bearer (key) is wrong"),
        (f"{'x' * 20}{KEY[:9]}", f"{'x' * 20}(key)"),  # truncated in its middle
        (
            "Invalid token passed. Received API Key = sk-...cdef, Key Hash (Token) =88dc28",
            "Invalid token passed",
        ),
        ("sk- is how keys begin", "sk- is how keys begin"),
    ],
)
def test_the_key_is_redacted_from_a_servers_text(sent, shown):
    assert without([KEY], sent) == shown


@pytest.mark.parametrize(
    ("name", "room", "shown"),
    [("qwen", 8, "qwen"), ("Qwen2.5-7B-Instruct-AWQ", 12, "Qwen2.…t-AWQ"), ("你好你好你好", 7, "你…好")],
)
def test_of_a_long_name_both_ends_are_shown(name, room, shown):
    assert narrowed(name, room) == shown


def test_text_is_cut_by_columns_and_not_by_characters():
    assert [shortened(w, 6) for w in ("Hello", "Hello world", "你好你好")] == ["Hello", "Hello…", "你好…"]


def test_waiting_requests_are_shown_on_one_line():
    assert waiting_line(20.4, {5: 8.0, 6: 11.0}, 80) == "#5 … waiting 12 s, #6 … 9 s"


def test_the_summary():
    requests = [request(3.0 * n, "vllm") for n in range(20)]
    requests += [
        request(60, "vllm", outcome="cut", error="finish_reason stop at 4 of 8 tokens", finish_reason="stop")
    ]
    requests += [bad(63), bad(66, status=429, error=COOLING)]
    requests += [
        request(69, "ollama", 2.0, 0.5),
        request(72, "ollama", 3.0, 0.5),
        request(75, "vllm"),
        bad(78, "timeout", 60),
    ]
    found = Replay(*requests, until=80)
    assert [plain(row) for row in closing(found.summary, found.changes)] == [
        "── watched 1 min 20 s: 27 sent, 23 good, 1 cut, 2 failed (1 × 500, 1 × 429 (all in cooldown)), 1 still waiting ──",
        "  vllm     91 %, 21 answers: median 400 ms, p95 400 ms, TTFT 100 ms",
        "  ollama    9 %, 2 answers: median 2.50 s, slowest 3.00 s, TTFT 500 ms",
        "  00:01:03 OUTAGE: no answer from 00:01:03 until 00:01:09 (#22: 500: boom)",
        "  00:01:09 FAILOVER vllm → ollama after 9.5 s without a whole answer (between 6.0 and 12.5 s)",
        "  00:01:15 RECOVERED: vllm again, after 6 s on ollama",
        "  longest silence 12.4 s, from 00:00:57 to 00:01:09; one request every 3s",
    ]  # fmt: skip


def test_a_watch_without_an_answer():
    found = Replay(bad(0, "refused"), bad(3, "refused"))
    rows = [plain(row) for row in closing(found.summary, found.changes)]
    assert rows[0] == "── watched 3 s: 2 sent, 0 good, 0 cut, 2 failed (2 × refused) ──"
    assert rows[-1] == "  longest silence 3.1 s, from 00:00:00 to the end; one request every 3s"


def test_a_model_that_never_reaches_the_cap_is_reported():
    short = [
        request(3.0 * n, "ollama", outcome="cut", finish_reason="stop", error="finish_reason stop at 2 of 8 tokens")
        for n in range(3)
    ]  # fmt: skip
    found = Replay(*short)
    last = plain(closing(found.summary, found.changes)[-1])
    assert "no answer of ollama reached its cap" in last
    assert "--witness none" in last


def test_each_line_for_programs_is_one_object():
    out = io.StringIO()
    view = Objects(out)
    found = Replay(request(0, "vllm"), bad(3), request(6, "ollama"), request(9, "vllm"))
    view.ended(3, request(6, "ollama"), "ollama", 1, "Grüße")
    view.ended(2, bad(3, status=429, error=COOLING), None, None, "")
    for change in found.changes.all:
        view.changed(change, found.changes)
    view.closed(found.summary, found.changes)
    rows = [json.loads(row) for row in out.getvalue().splitlines()]
    assert [row["kind"] for row in rows] == [
        "request",
        "request",
        "outage",
        "failover",
        "recovery",
        "summary",
    ]
    good, failed, _, failover, recovery, summary = rows
    assert (good["served_by"], good["place"], good["text"], good["n"]) == ("ollama", "fallback", "Grüße", 3)
    assert (failed["status"], failed["error_text"]) == (429, "429: all in cooldown (not a rate limit)")
    assert (failover["before"], failover["to"], failover["upper_s"]) == ("vllm", "ollama", 6.1)
    assert (recovery["to"], recovery["on"], recovery["on_s"]) == ("vllm", ["ollama"], 3.0)
    assert (summary["sent"], summary["good"], summary["failed"]) == (4, 3, 1)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("mode", "out", "environment", "colours"),
    [
        ("auto", Terminal(), {"TERM": "xterm"}, True),
        ("auto", Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        ("auto", Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        ("auto", Terminal(), {"TERM": "dumb"}, False),
        ("auto", io.StringIO(), {"TERM": "xterm"}, False),
        ("always", io.StringIO(), {"NO_COLOR": "1"}, True),
        ("never", Terminal(), {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_terminals(mode, out, environment, colours):
    assert coloured(mode, out, environment) is colours


def test_elsewhere_there_is_no_escape_sequence_and_no_status_line():
    out = io.StringIO()
    view = Screen(out, colours=False, live=False)
    view.ended(1, request(0, "vllm"), "vllm", 0, "Hi")
    view.waiting(30.0, {2: 3.0})
    assert out.getvalue() == '[00:00:00] #1 PRIMARY  vllm 400 ms, TTFT 100 ms "Hi"\n'


def test_covered_slots_are_shown_once_in_a_row():
    out = io.StringIO()
    view = Screen(out, colours=False, live=False)
    for now in (12.0, 15.0):
        view.covered(now, {1: 0.0, 2: 3.0})
    assert out.getvalue() == "[00:00:12] no request sent: 2 are still waiting, the oldest (#1) for 12 s\n"

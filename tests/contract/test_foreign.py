"""Our own secrets in the texts of servers and commands: none enters a record, a message or a log."""

import base64
import html
import json
import os
import string
from urllib.parse import quote, quote_plus

import pytest

from chaos.host import spawn
from chaos.kube import answers
from contract import counters, metrics_page, strict
from contract.answer import recordable
from contract.foreign import WORTH, without
from contract.framing import End, Exchange, Framing
from contract.gateway_version import named
from contract.gateways import find
from contract.outcome import fill, ours, redirected
from contract.printable import clean
from contract.records import RequestRecord
from contract.request import Request
from contract.topology import Topology, read_text
from scenarios.gateway import counters as scraped

KEY = 'sk-Q8z/r5+T"nY&2v=Kc7'
TENANT = "tenant-4711-blue"
BASIC = base64.b64encode(b"carol:open sesame").decode()
TOPOLOGY = """
gateway: {url: http://gw:4000, model: a, api_key: "${F_GATEWAY}"}
tiers:
- {name: vllm, match: {group: vllm}, url: http://v:8000, model: m, headers: {X-Tenant: "${F_TENANT}", Authorization: "Basic ${F_BASIC}"}}
"""


@pytest.fixture
def topology(monkeypatch: pytest.MonkeyPatch) -> Topology:
    for name, value in {"F_GATEWAY": KEY, "F_TENANT": TENANT, "F_BASIC": BASIC}.items():
        monkeypatch.setenv(name, value)
    return read_text(TOPOLOGY)


SPELLINGS = {
    "plain": lambda s: s,
    "percent": lambda s: quote(s, safe=""),
    "percent, lower case": lambda s: quote(s, safe="").replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d").replace("%22", "%22"),
    "a form": quote_plus,
    "percent twice": lambda s: quote(quote(s, safe=""), safe=""),
    "JSON": lambda s: json.dumps(s)[1:-1],
    "JSON with \\/": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "JSON in JSON": lambda s: json.dumps(json.dumps(s))[3:-3],
    "HTML": html.escape,
    "hexadecimal": lambda s: s.encode().hex(),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 of Bearer": lambda s: base64.b64encode(f"Bearer {s}".encode()).decode(),
    "base64 of Basic": lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    "base64 after a byte": lambda s: base64.b64encode(f"x{s}y".encode()).decode(),
    "base64 for urls": lambda s: base64.urlsafe_b64encode(f"a:{s}".encode()).decode(),
}  # fmt: skip


def leaks(text: str, secret: str, spell: str) -> bool:
    """Whether a part of the secret can be read from the text, in this spelling."""
    form = SPELLINGS[spell](secret)
    if not spell.startswith("base64"):
        return any(form[i : i + WORTH + 2] in text for i in range(len(form) - WORTH - 1))
    for part in text.replace("(key)", " ").split():
        part = part.strip(string.punctuation.replace("+", "").replace("/", "").replace("=", "").replace("-", "").replace("_", ""))  # fmt: skip
        for skip in range(4):
            data = part[skip:].replace("-", "+").replace("_", "/").rstrip("=")
            read = base64.b64decode(data[: len(data) // 4 * 4])
            if any(secret.encode()[i : i + WORTH] in read for i in range(len(secret) - WORTH)):
                return True
    return False


@pytest.mark.parametrize("secret", [KEY, TENANT])
@pytest.mark.parametrize("spell", SPELLINGS)
def test_a_secret_is_removed_however_it_is_spelled(topology, spell, secret):
    text = f"401: wrong key {SPELLINGS[spell](secret)} given"
    assert leaks(text, secret, spell)
    found = without((), text)
    assert not leaks(found, secret, spell)
    assert found.startswith("401: wrong key ")
    assert found.endswith(" given")
    assert "(key)" in found


@pytest.mark.parametrize("spell", ["plain", "percent", "JSON", "base64 of Bearer", "hexadecimal"])
def test_a_secret_that_is_cut_off_at_the_end_is_removed(topology, spell):
    form = SPELLINGS[spell](KEY)
    for length in range(len(form)):
        assert not leaks(without((), f"wrong key {form[:length]}"), KEY, spell)


@pytest.mark.parametrize("length", [280, 290, 299, 300])
def test_a_secret_at_the_limit_of_a_record_is_removed(topology, length):
    found = recordable("x" * length + KEY + "y" * 5000)
    assert len(found) <= 300
    assert not leaks(found, KEY, "plain")


def test_what_basic_credentials_say_is_removed_too(topology):
    assert without((), f"no user carol:open sesame; password open sesame; {BASIC}") == "no user (key); password (key); (key)"  # fmt: skip


def test_a_secret_that_was_rotated_is_read_anew(topology, monkeypatch):
    monkeypatch.setenv("F_TENANT", "tenant-after-rotation")
    assert without((), "tenant-after-rotation") == "(key)"


def test_a_text_without_a_secret_is_unchanged(topology):
    for text in ("", "x", "429: rate limit of tenant reached", "No deployments available", "Qwen/Qwen2.5-7B"):
        assert without((), text) == text


def test_a_short_secret_is_removed_as_a_word_only(monkeypatch, topology):
    monkeypatch.setenv("F_TENANT", "abc")
    assert without((), "abc abcdef xabc") == "(key) abcdef xabc"


def test_a_value_that_cannot_be_sent_does_no_harm(monkeypatch, topology):
    for value in ("", "\udcff\udcfe\udcfd\udcfc\udcfb\udcfa\udcf9", "schlüssel-aus-gold", "a\nb" * 9):
        monkeypatch.setitem(os.environ, "F_TENANT", value)
        assert without((), "some text") == "some text"


def answered(status: int, *pieces: bytes, headers: dict[str, str] | None = None) -> Exchange:
    found = Exchange()
    found.status, found.end, found.sent_at, found.headers_at, found.ended_at = (
        status,
        End.COMPLETE,
        0.0,
        0.1,
        0.2,
    )
    found.headers = headers or {}
    found.pieces = [(0.1, piece) for piece in pieces]
    return found


def filled(exchange: Exchange, topology: Topology, via: str = "gateway", stream: bool = True) -> str:
    """All texts of the record that becomes of this exchange."""
    record = RequestRecord("r", "chat", "load", via, stream, 0.0, max_tokens=10)
    fill(record, Request(prompt="p", stream=stream, max_tokens=10), exchange, float, topology)
    return " ".join(str(getattr(record, name)) for name in RequestRecord.__slots__)


@pytest.mark.parametrize("via", ["gateway", "vllm"])
@pytest.mark.parametrize("secret", [KEY, TENANT, BASIC])
def test_no_field_of_a_record_has_a_secret(topology, secret, via):
    """Also one of another server: a gateway repeats the key that it sends to a tier."""
    body = json.dumps({"error": {"message": f"key {secret} is wrong"}}).encode()
    half = body.index(b"is wrong") - 8
    chunk = json.dumps({"choices": [{"delta": {"content": "x"}, "finish_reason": f"stop {secret}"}]})
    event = json.dumps({"error": {"message": f"key {secret}"}})
    for exchange in (
        answered(401, body),
        answered(401, body[:half], body[half:]),  # split over two pieces
        answered(500, f"<html>{html.escape(secret)}</html>".encode()),
        answered(302, b"", headers={"location": f"http://h/{secret}/x"}),
        answered(200, f"data: {chunk}\n\ndata: [DONE]\n\n".encode(), headers={"content-type": "text/event-stream"}),
        answered(200, f"data: {event}\n\n".encode(), headers={"content-type": "text/event-stream"}),
        answered(200, b"", headers={"x-litellm-model-group": secret, "x-litellm-model-api-base": f"http://h/?k={secret}"}),
    ):  # fmt: skip
        found = filled(exchange, topology, via)
        assert not leaks(found, secret, "plain")
        assert not leaks(found, secret, "JSON")


def test_an_error_of_an_exchange_has_no_secret(topology):
    exchange = Exchange()
    Framing(exchange).closed(1.0, f"OSError: {KEY}")
    assert exchange.error == "OSError: (key)"


def test_an_error_of_the_harness_has_no_secret(topology):
    record = RequestRecord("r", "chat", "load", "gateway", True, 0.0)
    ours(record, ValueError(f"invalid header {KEY}"))
    assert KEY not in str(record.error)


def test_a_redirect_shows_no_secret_in_its_path(topology):
    assert KEY not in redirected(302, f"http://h/{quote(TENANT)}/x")
    assert TENANT not in redirected(302, f"http://h/{TENANT}/x")


def test_labels_and_values_of_a_page_of_metrics_have_no_secret(topology):
    kind = find("litellm")
    label = json.dumps(KEY)[1:-1]
    page = f'litellm_deployment_success_responses_total{{model_group="{label}",api_base="http://h/{TENANT}"}} 4\n'
    found = json.dumps(scraped.read(page, kind))
    assert "litellm_deployment" in found
    assert "Q8z" not in found
    assert TENANT not in found
    assert list(metrics_page.samples(page, counters.counter_names(kind)))


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1e999"])
def test_a_counter_that_json_cannot_hold_is_not_recorded(value):
    page = f"vllm:request_success_total 5\nvllm:request_success_total {value}\n"
    found = scraped.read(page, find("litellm"))
    assert [one["value"] for one in found] == [5.0]
    strict.parse_json(json.dumps(found))


def test_a_version_that_is_a_secret_is_none(monkeypatch, topology):
    monkeypatch.setenv("F_TENANT", "4711-blue-tenant")
    kind = find("litellm")
    assert named(kind, "gateway", 200, {"x-litellm-version": "4711-blue-tenant"}) is None
    assert named(kind, "gateway", 200, {"x-litellm-version": "1.80.0"}) == "1.80.0"


def test_texts_for_the_terminal_and_of_the_cluster_have_no_secret(topology):
    for shown in (clean, answers.line):
        assert shown(f"models: {TENANT}, {KEY}") == "models: (key), (key)"
    assert TENANT not in answers.api_error_text(ValueError(f"no {TENANT}"))


def test_what_a_command_prints_to_standard_error_has_no_secret(topology):
    ended = spawn.run(["sh", "-c", 'echo "curl: > X-Tenant: $F_TENANT" >&2; exit 3'], 10)
    assert TENANT not in str(ended)
    assert str(ended).endswith("X-Tenant: (key)")

"""A megabyte of anything is read: no reader holds the interpreter with it. The general timeout ends a test that hangs."""

import json

import pytest

from chaos.kube import answers
from chaos.watch.error_text import error_text
from contract import document, foreign, gateway_version, health, metrics_page, proper_end, thoughts, tokens
from contract.framing import End, Exchange
from contract.gateways import litellm
from contract.health import HealthUrl
from contract.outcome import ended_early, redirected
from contract.printable import clean, shortened
from contract.records import RequestRecord
from contract.samplers.gauges import gauges
from contract.topology import Server
from tests.contract.exchanges import CAP, recorded

SIZE = 2**20
SECRET = "sk-0123456789"
PARTS = [
    *("<", "<a", "</", "</a", "<a>", "</think>", "<script", "[", "{", '{"', '"', "\\", '\\"', "`", "```", "[/THINK]"),
    *(" ", "\t", "\n", "\r", "\r\n", " \n", "\u2028", "\0", "\x1b[", "a", "a:", "a=", 'a="', ",", ", a", "0", "0.", "-", "://", "?", "@"),
    *("data:", "data: \n", ":\n", "{}\n", "1\n", "[1]\n", "content", "content_", "litellm.a: ", "litellm.", SECRET[:-1], "ö", "\u0301"),
    *('{"a":', '"content":"', "argv[]=", "Received API Key", "vllm:num_requests_running{"),
]  # fmt: skip
TEXTS = {repr(part): (part * SIZE)[:SIZE] for part in PARTS}


def _rejected(text: str) -> None:
    for status in (400, 502):
        exchange = Exchange(0.0, status, {}, 0.1, [(1.0, text.encode())], 1.0, End.COMPLETE)
        record = recorded(exchange)
        assert record.outcome in ("rejected", "filtered")
        error_text(record)


def _answered(text: str) -> None:
    for kind, begin in (
        ("text/event-stream", ""),
        ("text/event-stream", "data: "),
        ("application/x-ndjson", '{"choices":[]}\n'),
        ("application/json", ""),
        ("", '{"message":{"content":"'),
    ):
        body = (begin + text).encode()
        recorded(Exchange(0.0, 200, {"content-type": kind}, 0.1, [(1.0, body)], 1.0, End.COMPLETE))


def _content(text: str) -> None:
    for begin in ("", "<think>", "[THINK]", "{", '{"a": "', "```json\n"):
        thoughts.leading(begin + text)
        proper_end.object_closes(begin + text)
        document.usable(begin + text)
    document.normal(text)
    tokens.approximate(text)


def _page(text: str) -> None:
    for begin in (
        "",
        "vllm:num_requests_running",
        "vllm:num_requests_running{",
        'vllm:num_requests_running{a="',
    ):
        for end in ("", " 1", "} 1", '"} 1', "\n"):
            try:
                gauges(begin + text + end, 0.0, "vllm")
            except ValueError:
                pass  # more than is read
    try:
        list(metrics_page.samples(text, (text[:10],)))
    except ValueError:
        pass


def _headers(text: str) -> None:
    redirected(302, text)
    redirected(302, f"http://{text}")
    gateway_version.named(litellm.GATEWAY, "gateway", 200, {"x-litellm-version": text})
    url = HealthUrl("vllm", "http://h/health", Server())
    health.wrong(url, Exchange(0.0, 302, {"location": text}, 0.1, [], 1.0, End.COMPLETE))
    health.wrong(url, Exchange(0.0, None, {}, None, [], 1.0, End.CLOSED, text))


def _errors(text: str) -> None:
    for secrets in ((), (SECRET,), ("ab",)):
        foreign.without(secrets, text)
    record = RequestRecord("req-1", "chat", "load", "gateway", True, 0.0, error=text)
    for record.outcome, record.status in (("rejected", 429), ("rejected", 503), ("refused", None)):
        error_text(record)
    record.outcome, record.finish_reason, record.max_tokens = "cut", text, CAP
    assert not ended_early(record)
    shortened(clean(text), 80)


def _kubernetes(text: str) -> None:
    of = answers.request_info("GET", "/api/v1/namespaces/a/pods/b")
    for body in (
        text.encode(),
        json.dumps({"kind": "Status", "status": "Failure", "message": text}).encode(),
    ):
        answers.api_error_text(answers.refusal(of, 403, {}, body, f" ({text})"))
        for read in (answers.found, lambda of, body: answers.event(of, "b", body)):
            with pytest.raises(answers.NotTheApi):
                read(of, body)


READERS = {f.__name__[1:]: f for f in (_rejected, _answered, _content, _page, _headers, _errors, _kubernetes)}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "text",
    [pytest.param(text, marks=[] if n % 6 == 0 else pytest.mark.verify) for n, text in enumerate(TEXTS)],
)
def test_a_megabyte_of_it_is_read(reader, text):
    READERS[reader](TEXTS[text])


def test_a_rejection_is_cut_before_it_is_searched(monkeypatch):
    searched = []
    monkeypatch.setattr(
        "contract.outcome._FILTER",
        type("Counting", (), {"search": lambda self, t: searched.append(len(t))})(),
    )
    recorded(Exchange(0.0, 400, {}, 0.1, [(1.0, b"<" * 2**24)], 1.0, End.COMPLETE))
    assert 0 < sum(searched) <= 2**18

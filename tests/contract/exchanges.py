"""Responses as bytes, and how they are read, for tests of framing and stream."""

import json
from typing import cast

from contract.classification import Classification
from contract.framing import Exchange, Framing
from contract.match import Match
from contract.outcome import fill
from contract.proper_end import ProperEnd
from contract.records import RequestRecord
from contract.request import Request
from contract.schemas import REQUESTS, columns
from contract.topology import Gateway, Tier, Topology

CAP = 5
DONE = b"data: [DONE]\n\n"


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def token(content: str | None = "hi", finish: str | None = None) -> bytes:
    delta = {"role": "assistant", "content": ""} if content is None else {"content": content}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def choice(**more: object) -> bytes:
    return event({"choices": [{"index": 0, **more}]})


def reasoned(text: str) -> bytes:
    return choice(delta={"reasoning_content": text, "content": None})


def finish(reason: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def usage(output: int, prompt: int = 7) -> bytes:
    return event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output}})


ROLE = token(None)
WHOLE = [ROLE, token(), token(), finish("length"), usage(CAP), DONE]


def head(status: str = "200 OK", *headers: str, kind: str = "text/event-stream") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunked(*parts: bytes, last: bool = True) -> bytes:
    cut = [b"%x\r\n%s\r\n" % (len(p), p) for p in parts if p]
    return b"".join(cut) + (b"0\r\n\r\n" if last else b"")


def streamed(*parts: bytes, last: bool = True) -> bytes:
    return head("200 OK", "transfer-encoding: chunked") + chunked(*parts, last=last)


def plain(body: object, status: str = "200 OK", length: int | None = None) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(status, f"content-length: {length or len(data)}", kind="application/json") + data


def lines(*parts: object, last: bool = True) -> bytes:
    """Ollama's own stream."""
    cut = [part if isinstance(part, bytes) else json.dumps(part).encode() + b"\n" for part in parts]
    return head("200 OK", "transfer-encoding: chunked", kind="application/x-ndjson") + chunked(
        *cut, last=last
    )


def received(*pieces: tuple[float, bytes], closed_at: float | None = None) -> tuple[Exchange, Framing]:
    """An exchange sent at 0, whose bytes came at these instants."""
    exchange = Exchange(sent_at=0.0)
    framing = Framing(exchange)
    for at, data in pieces:
        framing.feed(data, at)
    if closed_at is not None and not framing.done:
        framing.closed(closed_at)
    return exchange, framing


class Groups:
    """A stub topology: the tier has the name of its group, and all answers end at their cap."""

    ranks = (("vllm",), ("ollama",))
    gateway = Gateway(url="http://127.0.0.1:1", model="vllm")
    tiers = (Tier(name="vllm", match=Match(group="vllm")), Tier(name="ollama", match=Match(group="ollama")))

    def tier_of(self, group: str | None, api_base: str | None) -> str | None:
        return group

    def ends_at_cap(self, via: str, tier: str | None) -> bool:
        return True


def recorded(
    exchange: Exchange,
    via: str = "gateway",
    proper_end: ProperEnd | None = None,
    topology: Topology | None = None,
    classification: Classification | None = None,
) -> RequestRecord:
    """Its record, checked to be writable."""
    request = Request(
        prompt="", stream=True, via=via, max_tokens=CAP, proper_end=proper_end, classification=classification
    )
    record = request.record("req-1", "test", now=0.0)
    names = topology or cast(Topology, Groups())
    fill(record, request, exchange, lambda reading: 1000.0 + reading, names)
    columns([record], REQUESTS)
    return record

"""What an exchange with an OpenAI-compatible endpoint amounts to: TTFT, gaps, end, usage, outcome, witness.

One truth for the users' asks and the probe's. Pure: an `Exchange` in, an `Answer` out; read after the end, so that
no JSON is parsed while bytes are being stamped.
"""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from contract.framing import End, Exchange
from contract.records import GATEWAY, Ask, Outcome, Witness

# Enough to tell, while bytes arrive, that a first token is there; the answer itself is read after the end.
HAS_CONTENT = re.compile(
    rb'"(?:content|reasoning_content|reasoning|text)"\s*:\s*"[^"]|"tool_calls"\s*:\s*\[\s*\{'
)

_FILTER = re.compile(r"content[_ ]?(?:filter|policy|management)", re.IGNORECASE)
_ERROR_LENGTH = 300  # characters of an error that a record keeps


@dataclass(slots=True)
class Answer:
    """What was found in a body."""

    content_at: list[float] = field(default_factory=list)  # instants of the chunks with content
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    in_band_error: str | None = None
    done: bool = False  # `data: [DONE]`
    senseless: str | None = None  # a part that no JSON reader takes


def read_answer(exchange: Exchange) -> Answer:
    """Read the body of a status-200 exchange: a stream of server-sent events, or one JSON object."""
    if "text/event-stream" in exchange.headers.get("content-type", ""):
        return _read_events(exchange.pieces)
    return _read_plain(exchange)


def judge(exchange: Exchange, answer: Answer | None, max_tokens: int | None, witnessed: bool) -> tuple[
    Outcome, str | None, Witness | None
]:  # fmt: skip
    """The outcome, its error, and the witness that verified an `ok`.

    `witnessed`: the ask calls for more than max_tokens allows, so that its proper end is known beforehand.
    """
    end, status = exchange.end, exchange.status
    assert end is not None, "an exchange is judged after its end"
    if end is End.REFUSED:
        return Outcome.REFUSED, exchange.error, None
    if status is not None and status >= 400:
        return _rejection(exchange)
    tokens = answer is not None and bool(answer.content_at)
    if end is End.STOPPED:
        return Outcome.ABANDONED, exchange.error, None
    if end in (End.LATE, End.SILENT):
        return (Outcome.STALLED if tokens else Outcome.TIMEOUT), exchange.error, None
    if status != 200:
        return Outcome.BROKEN, exchange.error or f"status {status}", None
    assert answer is not None, "a status 200 has been read"
    wrong = answer.in_band_error or answer.senseless
    if answer.finish_reason == "content_filter" and not wrong:  # often with no token at all
        return Outcome.FILTERED, "finish_reason content_filter", None
    if not tokens:
        return Outcome.BROKEN, wrong or exchange.error or "no content", None
    if wrong:
        return Outcome.CUT, wrong, None
    return _whole(exchange, answer, max_tokens, witnessed)


def _whole(exchange: Exchange, answer: Answer, max_tokens: int | None, witnessed: bool) -> tuple[
    Outcome, str | None, Witness | None
]:  # fmt: skip
    """Tokens came and nothing spoke of an error: did the answer end as it had to?"""
    reason, output = answer.finish_reason, answer.output_tokens
    if reason is None:
        return Outcome.CUT, exchange.error or "no finish_reason", None
    if reason == "abort":
        return Outcome.CUT, "finish_reason abort", None
    if not witnessed or max_tokens is None:
        return Outcome.OK, None, Witness.NONE
    if reason == "length":
        return Outcome.OK, None, Witness.END
    if output is not None and output >= max_tokens:
        return Outcome.OK, None, Witness.USAGE
    told = "no usage" if output is None else f"{output}"
    return Outcome.CUT, f"finish_reason {reason} at {told} of {max_tokens} tokens", None


def fill(
    ask: Ask,
    exchange: Exchange,
    witnessed: bool,
    instant: Callable[[float], float],
    tier_of: Callable[[str | None, str | None], str | None],
) -> None:
    """Write into an ask's record all that its exchange tells.

    `instant` turns a reading of the exchange's clock into unix seconds; `tier_of` names the tier that the gateway's
    headers (model group, api base) speak of. Headers are believed on a status 200 only.
    """
    answer = read_answer(exchange) if exchange.status == 200 else None
    ask.outcome, ask.error, ask.witness = judge(exchange, answer, ask.max_tokens, witnessed)
    ask.status = exchange.status
    headers = exchange.headers
    ask.route_group = headers.get("x-litellm-model-group")
    ask.route_api_base = headers.get("x-litellm-model-api-base")
    ask.route_fallbacks = _count(headers.get("x-litellm-attempted-fallbacks"))
    ask.route_retries = _count(headers.get("x-litellm-attempted-retries"))
    if exchange.status == 200:
        ask.tier = tier_of(ask.route_group, ask.route_api_base) if ask.via == GATEWAY else ask.via
    if exchange.sent_at is not None:
        sent = exchange.sent_at
        ask.sent_at = instant(sent)
        at = answer.content_at if answer else []
        ask.headers_ms = _ms(sent, exchange.headers_at)
        ask.ttft_ms = _ms(sent, at[0]) if at else None
        ask.gaps_ms = [(b - a) * 1000 for a, b in itertools.pairwise(at)]
        ask.latency_ms = _ms(sent, exchange.ended_at)
    if answer is not None:
        ask.finish_reason = answer.finish_reason
        ask.prompt_tokens, ask.output_tokens = answer.prompt_tokens, answer.output_tokens


def _ms(sent: float, instant: float | None) -> float | None:
    return None if instant is None else (instant - sent) * 1000


def _count(header: str | None) -> int | None:
    """A small number, or nothing: one that a record cannot hold would cost the batch it is written with."""
    return int(header) if header is not None and re.fullmatch(r"[0-9]{1,4}", header) else None


def _tokens(told: object, before: int | None) -> int | None:
    return told if type(told) is int and 0 <= told < 2**31 else before


def _told(words: object) -> str:
    """A server's words as a record can hold them: JSON can spell characters that UTF-8 cannot."""
    return str(words)[:_ERROR_LENGTH].encode("utf-8", "replace").decode()


def _rejection(exchange: Exchange) -> tuple[Outcome, str, None]:
    text = b"".join(piece for _, piece in exchange.pieces).decode("utf-8", "replace")
    message = _told(f"{exchange.status}: {_message(text)}")
    filtered = exchange.status == 400 and _FILTER.search(text)
    return (Outcome.FILTERED if filtered else Outcome.REJECTED), message, None


def _message(body: str) -> str:
    """The error's own words, without the prompt that some servers echo."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return re.sub(r"<[^>]*>|\s+", " ", body).strip()


def _read_plain(exchange: Exchange) -> Answer:
    answer = Answer()
    body = b"".join(piece for _, piece in exchange.pieces)
    if exchange.end is not End.COMPLETE:
        return answer  # half a JSON object is no token
    data = _object(body, answer)
    if data is not None:
        at = exchange.pieces[-1][0] if exchange.pieces else 0.0
        _take(data, at, answer)
    return answer


def _read_events(pieces: list[tuple[float, bytes]]) -> Answer:
    """Server-sent events, cut anywhere: an event is stamped with the piece that completed it."""
    answer = Answer()
    rest = b""
    data_lines: list[bytes] = []
    for at, piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data_lines.append(line[5:].strip())
            elif not line and data_lines:  # an empty line ends an event
                _take_event(b"\n".join(data_lines), at, answer)
                data_lines.clear()
            # comments (": ping") and other fields carry no tokens
    return answer


def _take_event(data: bytes, at: float, answer: Answer) -> None:
    if not data:
        return
    if data == b"[DONE]":
        answer.done = True
        return
    found = _object(data, answer)
    if found is not None:
        _take(found, at, answer)


def _object(data: bytes, answer: Answer) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        answer.senseless = answer.senseless or f"not a JSON object: {len(data)} bytes"
        return None
    return found


def _take(data: dict[str, Any], at: float, answer: Answer) -> None:
    """One chunk, or one plain answer."""
    if data.get("error"):
        error = data["error"]
        message = error.get("message") if isinstance(error, dict) else error
        answer.in_band_error = answer.in_band_error or _told(message)
    usage = data.get("usage")
    if isinstance(usage, dict):
        answer.prompt_tokens = _tokens(usage.get("prompt_tokens"), answer.prompt_tokens)
        answer.output_tokens = _tokens(usage.get("completion_tokens"), answer.output_tokens)
    choices = data.get("choices") or []
    for choice in choices if isinstance(choices, list) else [choices]:
        _take_choice(choice, at, answer)


def _take_choice(choice: object, at: float, answer: Answer) -> None:
    part = (choice.get("delta") or choice.get("message") or {}) if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(part, dict):
        answer.senseless = answer.senseless or "choices that are none"
        return
    # An empty role delta is not a token.
    if any(part.get(key) for key in ("content", "reasoning_content", "reasoning", "tool_calls")):
        answer.content_at.append(at)
    reason = choice.get("finish_reason")
    answer.finish_reason = _told(reason) if reason else answer.finish_reason

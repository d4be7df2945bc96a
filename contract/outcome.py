"""The result of a request: its outcome, witness and record. Pure: an `Exchange` in, a filled `RequestRecord` out.

Shared by users and probe.
"""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from contract import printable
from contract.answer import Answer, recordable, rejection_of
from contract.foreign import without
from contract.framing import End, Exchange, encoded
from contract.proper_end import AT_CAP, UNKNOWN, ProperEnd
from contract.records import GATEWAY, Outcome, RequestRecord, Witness
from contract.request import Request
from contract.stream import read_answer
from contract.topology import Topology

_BROKEN_OFF = ("abort", "error", "network_error", "insufficient_system_resource")
"""Reasons that are not a proper end: vLLM and SGLang; vLLM and OpenRouter; GLM; DeepSeek."""
_LONGEST_REJECTION = 2**18
"""Bytes of a rejection that are read. A longer body is an error page, of which the beginning says what it is."""
_LONGEST_HEADER = (
    512  # characters of a gateway's header; a longer value names no tier, and would fill the records
)
_FILTERED = ("content_filter", "sensitive")  # the second is GLM's
_FILTER = re.compile(r"content[_ ]?(?:filter|policy|management)", re.IGNORECASE)


Judgement = tuple[Outcome, str | None, Witness | None]
"""Outcome, error, and the witness that verified an `ok`."""


def judge(
    exchange: Exchange,
    answer: Answer | None,
    max_tokens: int | None,
    proper_end: ProperEnd,
    through_gateway: bool = False,
) -> Judgement:
    """The judgement of an exchange. `through_gateway`: its finish_reason and usage may be invented where no token is shown."""
    end, status = exchange.end, exchange.status
    assert end is not None, "an exchange is judged after its end"
    if end is End.REFUSED:
        return Outcome.REFUSED, exchange.error, None
    if status is not None and status >= 400:
        return _rejection(exchange)
    tokens = answer is not None and bool(answer.token_at)
    if end is End.STOPPED:
        return Outcome.ABANDONED, exchange.error, None
    if end in (End.LATE, End.SILENT):
        return (Outcome.STALLED if tokens else Outcome.TIMEOUT), exchange.error, None
    if status != 200:
        return Outcome.BROKEN, unanswered(exchange), None
    assert answer is not None, "a status 200 has been read"
    wrong = answer.in_band_error or answer.senseless
    if answer.finish_reason in _FILTERED and not wrong:  # often with no token at all
        return Outcome.FILTERED, f"finish_reason {answer.finish_reason}", None
    if not tokens:
        outcome, error, witness = _unseen(answer, max_tokens, proper_end, through_gateway)
        if outcome is Outcome.OK and not wrong:
            return outcome, error, witness
        return Outcome.BROKEN, wrong or exchange.error or error, None
    if wrong:
        return Outcome.CUT, wrong, None
    return _whole(exchange, answer, max_tokens, proper_end)


def _unseen(
    answer: Answer, max_tokens: int | None, proper_end: ProperEnd, through_gateway: bool
) -> Judgement:
    """No token was shown and no error was reported: did the model spend its cap on thoughts that are not shown?

    Such an answer is whole if the cap ended it and at least one token is counted. A gateway invents a "stop" and a usage
    for a stream that only ended, so behind a gateway only "length" proves that the cap ended it. A request that is verified
    by its content has no witness here.
    """
    reason, output = answer.finish_reason, answer.output_tokens
    if reason is None:
        return Outcome.BROKEN, "no content", None
    if output is None:
        return (
            Outcome.BROKEN,
            f"no content: finish_reason {reason}, and no usage reports a token",
            None,
        )
    if output == 0:
        return Outcome.BROKEN, f"no content: finish_reason {reason} at 0 tokens", None
    reached = max_tokens is not None and output >= max_tokens and not through_gateway
    if proper_end.shows is not None or (reason != "length" and not (reason == "stop" and reached)):
        of = "" if max_tokens is None else f" of {max_tokens}"
        doubt = ", which a gateway may have invented" if through_gateway and reason == "stop" else ""
        return Outcome.BROKEN, f"no content: finish_reason {reason} at {output}{of} tokens{doubt}", None
    if not proper_end.at_cap or max_tokens is None:
        return Outcome.OK, None, Witness.NONE
    return Outcome.OK, None, Witness.END if reason == "length" else Witness.USAGE


def _whole(exchange: Exchange, answer: Answer, max_tokens: int | None, proper_end: ProperEnd) -> Judgement:
    """Tokens came and no error was reported: did the answer have its proper end?"""
    reason, output = answer.finish_reason, answer.output_tokens
    if reason is None:
        return Outcome.CUT, exchange.error or "no finish_reason", None
    if reason in _BROKEN_OFF:
        return Outcome.CUT, f"finish_reason {reason}", None
    if proper_end.shows is not None:
        assert answer.text is not None, "the content has been kept for its witness"
        whole = False if answer.thinking else proper_end.shows("".join(answer.text))
        if whole is None:
            return Outcome.OK, None, Witness.NONE
        if whole:
            return Outcome.OK, None, Witness.CONTENT
        return Outcome.CUT, f"finish_reason {reason}, and the content is not {proper_end.expected}", None
    if not proper_end.at_cap or max_tokens is None:
        return Outcome.OK, None, Witness.NONE
    if reason == "length":
        return Outcome.OK, None, Witness.END
    if output is not None and output >= max_tokens:
        return Outcome.OK, None, Witness.USAGE
    return Outcome.CUT, _early(reason, output, max_tokens), None


def _early(reason: str, output: int | None, max_tokens: int) -> str:
    count = "no usage" if output is None else f"{output}"
    return f"finish_reason {reason} at {count} of {max_tokens} tokens"


def ended_early(record: RequestRecord) -> bool:
    """Whether the answer is a cut only because it ended below the cap: the model may have ended it by itself."""
    if record.outcome != Outcome.CUT or record.finish_reason is None or record.max_tokens is None:
        return False
    return record.error == _early(record.finish_reason, record.output_tokens, record.max_tokens)


def fill(
    record: RequestRecord,
    request: Request,
    exchange: Exchange,
    instant: Callable[[float], float],
    topology: Topology,
    secrets: Sequence[str] = (),
) -> None:
    """Write all that an exchange shows into the request's record. Nothing else writes observations.

    `instant` converts a reading of the exchange's clock into unix seconds. Without a proper end of its own the request ends at
    its cap, unless the topology sets `witness: none` for the serving tier. Its classification judges the content of a whole
    answer. `secrets`: the endpoint's; a server may repeat them in an error. The gateway's headers are used on a status 200 only.
    """
    proper_end, classification = request.proper_end, request.classification
    record.status = exchange.status
    headers = exchange.headers
    kind = topology.gateway.of_kind
    group, api_base = _header(headers, kind.group), _header(headers, kind.api_base)
    record.route_group = None if group is None else recordable(group)
    record.route_api_base = None if api_base is None else recordable(api_base)
    record.route_fallbacks = _count(_header(headers, kind.fallbacks))
    record.route_retries = _count(_header(headers, kind.retries))
    record.route_overhead_ms = _length(_header(headers, kind.overhead_ms))
    if exchange.status == 200:
        through = record.via == GATEWAY
        record.tier = topology.tier_of(group, api_base) if through else record.via
    if proper_end is None:
        proper_end = AT_CAP if topology.ends_at_cap(record.via, record.tier) else UNKNOWN
    text = proper_end.shows is not None or classification is not None
    answer = read_answer(exchange, text) if exchange.status == 200 else None
    record.outcome, record.error, record.witness = judge(
        exchange, answer, record.max_tokens, proper_end, record.via == GATEWAY
    )
    record.error = None if record.error is None else without(secrets, recordable(record.error))
    if classification is not None and record.outcome == Outcome.OK:
        assert answer is not None, "what is ok has been read"
        record.valid, record.wrong = classification.judge("".join(answer.text or []))
    if exchange.sent_at is not None:
        sent = exchange.sent_at
        record.sent_at = instant(sent)
        record.headers_ms = _ms(sent, exchange.headers_at)
        if answer is not None:
            record.thought_ms = _ms(sent, answer.thought_at[0]) if answer.thought_at else None
            record.ttft_ms = _ms(sent, answer.content_at[0]) if answer.content_at else None
            record.gaps_ms = [(b - a) * 1000 for a, b in itertools.pairwise(answer.token_at)]
        record.latency_ms = _ms(sent, exchange.ended_at)
    if answer is not None:
        record.finish_reason = answer.finish_reason
        record.prompt_tokens, record.output_tokens = answer.prompt_tokens, answer.output_tokens


def ours(record: RequestRecord, error: Exception) -> None:
    """Record an error of the harness itself; the request still has its record."""
    record.outcome, record.witness = Outcome.BROKEN, None
    record.error = recordable(f"in the harness: {type(error).__name__}: {error}")


def _ms(sent: float, instant: float | None) -> float | None:
    return None if instant is None else (instant - sent) * 1000


def _header(headers: Mapping[str, str], name: str | None) -> str | None:
    found = None if name is None else headers.get(name)
    return None if found is None or len(found) > _LONGEST_HEADER else printable.line(found)


def _count(header: str | None) -> int | None:
    """A small number or None: a number too large for a record would lose its whole batch."""
    return int(header) if header is not None and re.fullmatch(r"[0-9]{1,4}", header) else None


def _length(header: str | None) -> float | None:
    try:
        found = float(header or "")
    except ValueError:
        return None
    return found if 0 <= found < math.inf else None


def unanswered(exchange: Exchange) -> str:
    """Why an exchange without an error status is not an answer: how it ended, or where it redirects to.

    Redirects are not followed: requests go only to the servers of the topology.
    """
    return (
        exchange.error
        or f"status {exchange.status}{redirected(exchange.status, exchange.headers.get('location'))}"
    )


def redirected(status: int | None, location: str | None) -> str:
    """The target of a redirect, to append to its status: without user, query and fragment, which may be secret."""
    if status is None or not 300 <= status < 400 or not location:
        return ""
    try:
        parts = urlsplit(location)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return ", a redirect to an invalid URL"
    host = f"[{host}]" if ":" in host else host
    scheme = f"{parts.scheme}:" if parts.scheme else ""
    return recordable(
        f", a redirect to {scheme}{'//' if host else ''}{host}{port}{parts.path}, which is not followed"
    )


def _rejection(exchange: Exchange) -> tuple[Outcome, str, None]:
    body = b"".join(piece for _, piece in exchange.pieces)
    text = body[:_LONGEST_REJECTION].decode("utf-8", "replace")
    encoding = encoded(exchange.headers)
    message = rejection_of(body) if len(body) <= _LONGEST_REJECTION else None
    words = encoding or message or re.sub(r"<[^<>]*>|\s+", " ", text).strip()
    filtered = exchange.status == 400 and _FILTER.search(text)
    return (
        (Outcome.FILTERED if filtered else Outcome.REJECTED),
        recordable(f"{exchange.status}: {words}"),
        None,
    )

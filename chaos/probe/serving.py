"""Checks a target before a run: its port, its list of models, whether its answers are whole and stream, and which tier answers.

It requests a few tokens, which costs a little; it sends no request to a cloud tier. Each finding is a sentence with the
correction. None of them is a refusal, since a run's baseline shows the same.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

from chaos.probe.wire import Connection
from contract import early_end, gateway_version, gateways, page
from contract.caps import Use, advice
from contract.clock import Clock
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import End, Exchange
from contract.outcome import ended_early, fill, judge, redirected
from contract.printable import clean, shortened
from contract.prompt import COUNT_UPWARDS
from contract.proper_end import UNKNOWN
from contract.ranks import rank_of
from contract.records import GATEWAY, Outcome, RequestRecord
from contract.refusal import Refusal
from contract.request import Request
from contract.stream import read_answer
from contract.topology import Topology

PATIENCE = Deadlines(connect=2.0, first_token=20.0, silence=20.0, whole=30.0)
AT_ONCE_S = 0.3  # an answer generated faster than this may arrive in one piece without a proxy's doing
LISTED = 6  # models that a line lists
LONGEST_LIST = 8 * 2**20  # bytes
ROOM = 240  # columns of a server's error message
_NOT_ALLOWED = (401, 403)


@dataclass(frozen=True, slots=True)
class Serving:
    """The findings of one target: what is well, and what is wrong."""

    target: str
    well: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """One streamed request: its record, and how its tokens arrived or what is wrong with that."""

    record: RequestRecord
    streams: str | None
    wrong: str | None
    version: str | None = None  # of the gateway, as the answer names it


class NotStreamed(Exception):
    """The answer to a streamed request has an error; the message states the correction."""


def look(topology: Topology) -> list[Serving]:
    """Check the gateway, and every non-cloud tier that has a url."""
    found = []
    for name in topology.targets():
        tier = None if name == GATEWAY else topology.tier(name)
        if tier is not None and tier.cloud:
            continue
        try:
            endpoint = Endpoint.of_gateway(topology.gateway) if tier is None else Endpoint.of_tier(tier)
        except Refusal as e:
            found.append(Serving(name, (), (str(e),)))
            continue
        if endpoint is not None:
            found.append(_check(name, endpoint, topology))
    return found


def report(found: list[Serving]) -> Iterator[str]:
    """The lines below the plan."""
    for one in found:
        if one.well:
            yield f"  {one.target}: {', '.join(one.well)}"
        yield from (f"  {one.target}: NOT WELL: {problem}" for problem in one.wrong)


def _check(name: str, endpoint: Endpoint, topology: Topology) -> Serving:
    where = f"{endpoint.host}:{endpoint.port}"
    listed, unlisted = None, None
    try:
        listed = models(endpoint)
    except OSError as e:
        return Serving(name, (), (f"no answer at {where} ({e}): start the server, or correct its url",))
    except ValueError as e:
        unlisted = f"{where} does not list its models: {clean(str(e))}"
    if listed is not None and endpoint.model not in listed:
        unlisted = _not_listed(name, endpoint.model, listed)
    answered = send(topology, name, endpoint)
    well, wrong = [], []
    if unlisted is None:
        well.append(f"lists {endpoint.model}")
    elif answered.wrong is not None:
        wrong.append(unlisted)
    if answered.version is not None:
        well.append(f"answers as {gateway_version.names(topology.gateway.kind, [answered.version])}")
    if answered.streams is not None:
        # A model that answers need not be listed: a wildcard group, a hidden alias, a list that the key may not read.
        hidden = f" for {endpoint.model}, which it does not list" if unlisted is not None else ""
        well.append(answered.streams + hidden)
    if answered.wrong is not None:
        wrong.append(answered.wrong)
    if name == GATEWAY:
        for line, good in _answered_by(topology, endpoint, listed, answered):
            (well if good else wrong).append(line)
    return Serving(name, tuple(well), tuple(wrong))


def send(topology: Topology, via: str, endpoint: Endpoint) -> Answered:
    """One streamed request for a few tokens, and a second one where the first answer ended early.

    One early end does not show whether the model or a cut ended it. Where another tier answered the second request, or none
    did, only the first one counts.
    """
    first = _send_once(topology, via, endpoint)
    if not ended_early(first.record):
        return first
    second = _send_once(topology, via, endpoint)
    requests = [first.record, *([second.record] if second.record.tier == first.record.tier else [])]
    return replace(first, wrong=early_end.sentence(requests, topology))


def _send_once(topology: Topology, via: str, endpoint: Endpoint) -> Answered:
    """One streamed request, parsed and judged as in a run."""
    request = Request(prompt=COUNT_UPWARDS, stream=True, use=Use.PLAN, via=via, lane="plan").on(topology)
    record = request.record(f"plan-{uuid.uuid4().hex[:12]}", "plan", now=0.0)
    connection = Connection(endpoint, PATIENCE)
    exchange = connection.exchange(endpoint.request(record.request_id, request))
    connection.close()
    fill(record, request, exchange, Clock().at, topology, endpoint.secrets)
    try:
        how = streams(exchange, request.max_tokens, via == GATEWAY)
        wrong = None
    except NotStreamed as e:
        how, wrong = None, str(e)
    if record.outcome != Outcome.OK:
        how, wrong = None, _not_whole(record, wrong)
    version = gateway_version.named(topology.gateway.of_kind, via, exchange.status, exchange.headers)
    return Answered(record, how, wrong, version)


def _not_whole(record: RequestRecord, wrong: str | None) -> str:
    """Why an answer is not whole."""
    error = shortened(clean(record.error or ""), ROOM)
    if record.ttft_ms is None and record.outcome not in (Outcome.FILTERED, Outcome.CUT, Outcome.STALLED):
        refused = record.status in _NOT_ALLOWED or gateways.wrong_key(error) is not None
        hint = ": check its api_key, and whether that key may request this model" if refused else ""
        helps = advice(record.error)
        hint = f": {helps}" if helps else hint
        first = wrong.partition(":")[0] if wrong else "a streamed request was not answered"
        return f"{first}: {error or record.outcome}{hint}"
    return f"the answer to a streamed request was {record.outcome}: {error}"


def _answered_by(
    topology: Topology, endpoint: Endpoint, listed: list[str] | None, answered: Answered
) -> Iterator[tuple[str, bool]]:
    """Which tier answered through the gateway, and whether an answer of the lower tiers would be attributed too."""
    record = answered.record
    if record.status != 200:
        return
    if record.tier is None:
        yield _unmatched(topology, record), False
        return
    higher = [name for rank in topology.ranks[: rank_of(topology.ranks, record.tier) or 0] for name in rank]
    if higher:
        yield (
            f"answered by {record.tier} instead of the higher-ranked {', '.join(higher)}: is that in cooldown, or unreachable?",
            False,
        )
    else:
        yield f"answered by {record.tier}", True
    first = {topology.gateway.model, record.route_group}
    for group in dict.fromkeys(t.match.group for t in topology.tiers if t.match.group):
        if group not in first:
            yield from _group(topology, endpoint, group, listed)


def _group(
    topology: Topology, endpoint: Endpoint, group: str, listed: list[str] | None
) -> Iterator[tuple[str, bool]]:
    """A group that the gateway falls back to, requested by its name."""
    tiers = [t for t in topology.tiers if t.match.group == group]
    names = ", ".join(t.name for t in tiers)
    known = listed is not None and group in listed
    if all(t.cloud for t in tiers):
        if not known:
            yield (
                f"group {group} of {names} is not listed, and a cloud tier gets no request: its match is not checked",
                True,
            )
        return
    answered = send(topology, GATEWAY, replace(endpoint, model=group))
    record = answered.record
    if record.status == 200 and record.tier in [t.name for t in tiers]:
        yield f"group {group} answered by {record.tier}", True
        if answered.wrong is not None:
            yield f"group {group}: {answered.wrong}", False
    elif record.status == 200 and record.tier is None:
        yield f"group {group}: {_unmatched(topology, record)}", False
    elif record.status == 200:
        yield (
            f"group {group} of {names} answered by {record.tier}: is {names} in cooldown, or unreachable?",
            False,
        )
    elif record.status in _NOT_ALLOWED and not known:
        yield f"this key may not request group {group} of {names}: its match is not checked", True
    else:
        right = "" if known else f"; match must name a model_name of the gateway{_some(listed)}"
        yield f"no answer for group {group} of {names}: {answered.wrong}{right}", False


def _unmatched(topology: Topology, record: RequestRecord) -> str:
    """The attributes of an answer that no tier matches, and the `match` to write."""
    group, api_base = record.route_group, record.route_api_base
    why = f"it answers, but {clean(topology.unmatched(group, api_base))}"
    if group is None and api_base is None:
        return why
    several = any(t.match.group == group for t in topology.tiers)
    parts = [f"group: {json.dumps(clean(group))}"] if group is not None else []
    parts += (
        [f"api_base: {json.dumps(clean(api_base))}"]
        if api_base is not None and (several or not parts)
        else []
    )
    return f"{why}; add match: {{{', '.join(parts)}}} to the tier that answered"


def models(endpoint: Endpoint) -> list[str]:
    """The models that it lists. Raises OSError without an answer, ValueError where the answer is not a list."""
    ollama = endpoint.api == "ollama"
    path = "/api/tags" if ollama else endpoint.path.removesuffix("/chat/completions") + "/models"
    found = page.get(
        endpoint.url_of(path), PATIENCE.connect, endpoint.headers, endpoint.ca_file, LONGEST_LIST
    )
    if found.status is None:
        raise OSError(found.error)
    if found.status != 200:
        where = redirected(found.status, found.headers.get("location"))
        raise ValueError(f"{path} returned {found.status}{where}")
    if found.end is not End.COMPLETE:
        raise ValueError(f"{path}: {found.error}")
    try:
        listed = json.loads(page.body(found))
        return [str(m["name"] if ollama else m["id"]) for m in listed["models" if ollama else "data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path} is not a list of models") from None


def streams(exchange: Exchange, most: int | None = None, through_gateway: bool = False) -> str:
    """`streams`: the answer came piece by piece; `answers`: that cannot be determined. Raises NotStreamed.

    `most`: the request's cap.
    """
    answer = read_answer(exchange) if exchange.status == 200 else None
    outcome, error, _ = judge(exchange, answer, most, UNKNOWN, through_gateway)
    if answer is None:
        helps = advice(error)
        right = f": {helps}" if helps else ""
        raise NotStreamed(f"a streamed request was not answered: {error}{right}")
    at = answer.token_at
    if not at and outcome is Outcome.OK:
        return (
            f"answers, but its first {answer.output_tokens} tokens are hidden (a reasoning model? a larger "
            "probe_max_tokens would show more)"
        )
    if not at:
        raise NotStreamed(f"a streamed request got no token: {clean(error or '')}")
    if at[0] != at[-1]:
        return "streams"
    assert exchange.sent_at is not None, "an answered request was sent"
    took_s = at[0] - exchange.sent_at
    if len(at) == 1 or took_s < AT_ONCE_S:
        return "answers"
    raise NotStreamed(
        f"its {len(at)} chunks arrived all at once, after {took_s:.2g} s: a proxy buffers the stream "
        "(nginx: proxy_buffering off)"
    )


def _not_listed(name: str, model: str, listed: list[str]) -> str:
    right = (
        "add it to the gateway's model_list, or set one of the listed names as the gateway's model"
        if name == GATEWAY
        else "serve it under that name (vLLM: --served-model-name, llama.cpp: --alias), or set one of the listed names"
    )
    some = ", ".join(clean(m) for m in listed[:LISTED]) + (", …" if len(listed) > LISTED else "") or "none"
    return f"it lists {some}, but not {model!r}: {right}"


def _some(listed: list[str] | None) -> str:
    if not listed:
        return ""
    return f" ({', '.join(clean(m) for m in listed[:LISTED])}{', …' if len(listed) > LISTED else ''})"

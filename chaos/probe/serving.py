"""What of a target answers now, before a run: its port, the models that it lists, whether its answers are whole and stream, who gave them.

It asks for a few tokens, and so costs a little; a cloud tier is not asked. Each finding is a sentence with what would be
right; none of them is a refusal, for a run's baseline shows it too.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

from chaos.printable import clean, shortened
from chaos.probe.wire import Connection
from contract import early_end, gateway_version, gateways, page
from contract.caps import Use, advice
from contract.clock import Clock
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import End, Exchange
from contract.outcome import ended_early, fill, judge, redirected
from contract.prompt import COUNT_UPWARDS
from contract.proper_end import UNKNOWN
from contract.ranks import rank_of
from contract.records import GATEWAY, Outcome, RequestRecord
from contract.refusal import Refusal
from contract.request import Request
from contract.stream import read_answer
from contract.topology import Topology

PATIENCE = Deadlines(connect=2.0, first_token=20.0, silence=20.0, whole=30.0)
AT_ONCE_S = 0.3  # an answer that is made faster than this may come in one piece of its own accord
TOLD = 6  # so many models are named
LONGEST_LIST = 8 * 2**20  # bytes
ROOM = 240  # columns of a server's own words
_NOT_ALLOWED = (401, 403)


@dataclass(frozen=True, slots=True)
class Serving:
    """One target: what was seen to be well, and what is wrong."""

    target: str
    well: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """One streamed request: its record, and how its tokens came or why that is not well."""

    record: RequestRecord
    streams: str | None
    wrong: str | None
    version: str | None = None  # of the gateway, as the answer names it


class NotStreamed(Exception):
    """A streamed request did not come as it should, and what would be right."""


def look(topology: Topology) -> list[Serving]:
    """The gateway, and every tier that has a url and is no cloud's."""
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
            found.append(_looked(name, endpoint, topology))
    return found


def told(found: list[Serving]) -> Iterator[str]:
    """As an operator reads it, below the plan."""
    for one in found:
        if one.well:
            yield f"  {one.target}: {', '.join(one.well)}"
        yield from (f"  {one.target}: NOT WELL: {words}" for words in one.wrong)


def _looked(name: str, endpoint: Endpoint, topology: Topology) -> Serving:
    where = f"{endpoint.host}:{endpoint.port}"
    listed, unlisted = None, None
    try:
        listed = models(endpoint)
    except OSError as e:
        return Serving(name, (), (f"nothing answers at {where} ({e}): start it, or set its url right",))
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
        # What answers need not be listed: a wildcard group, a hidden alias, a list that the key may not read.
        hidden = f" for {endpoint.model}, which it does not list" if unlisted is not None else ""
        well.append(answered.streams + hidden)
    if answered.wrong is not None:
        wrong.append(answered.wrong)
    if name == GATEWAY:
        for words, good in _who(topology, endpoint, listed, answered):
            (well if good else wrong).append(words)
    return Serving(name, tuple(well), tuple(wrong))


def send(topology: Topology, via: str, endpoint: Endpoint) -> Answered:
    """One streamed request for a few tokens, and a second one where the first answer ended early.

    One early end does not show whether the model or a cut ended it. Where the second answer is another tier's, or none, the
    first stands alone.
    """
    first = _send_once(topology, via, endpoint)
    if not ended_early(first.record):
        return first
    second = _send_once(topology, via, endpoint)
    requests = [first.record, *([second.record] if second.record.tier == first.record.tier else [])]
    return replace(first, wrong=early_end.sentence(requests, topology))


def _send_once(topology: Topology, via: str, endpoint: Endpoint) -> Answered:
    """One streamed request, read and judged as those of a run are."""
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
    """What kept an answer from being a whole one."""
    words = shortened(clean(record.error or ""), ROOM)
    if record.ttft_ms is None and record.outcome not in (Outcome.FILTERED, Outcome.CUT, Outcome.STALLED):
        refused = record.status in _NOT_ALLOWED or gateways.wrong_key(words) is not None
        hint = ": is its api_key right, and may it ask for this model?" if refused else ""
        helps = advice(record.error)
        hint = f": {helps}" if helps else hint
        first = wrong.partition(":")[0] if wrong else "a streamed request was not answered"
        return f"{first}: {words or record.outcome}{hint}"
    return f"the answer to a streamed request was {record.outcome}: {words}"


def _who(
    topology: Topology, endpoint: Endpoint, listed: list[str] | None, answered: Answered
) -> Iterator[tuple[str, bool]]:
    """Which tier answered through the gateway, and whether those below it would be known too."""
    record = answered.record
    if record.status != 200:
        return
    if record.tier is None:
        yield _nobodys(topology, record), False
        return
    higher = [name for rank in topology.ranks[: rank_of(topology.ranks, record.tier) or 0] for name in rank]
    if higher:
        yield (
            f"answered by {record.tier}, and {', '.join(higher)} stands above it: is it cooled down, or not reached?",
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
    """A group that the gateway falls back to, asked for by its name."""
    tiers = [t for t in topology.tiers if t.match.group == group]
    names = ", ".join(t.name for t in tiers)
    known = listed is not None and group in listed
    if all(t.cloud for t in tiers):
        if not known:
            yield (
                f"group {group} of {names} is not listed, and a cloud is not asked: its match is not checked",
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
        yield f"group {group}: {_nobodys(topology, record)}", False
    elif record.status == 200:
        yield (
            f"group {group} of {names} answered by {record.tier}: is {names} cooled down, or not reached?",
            False,
        )
    elif record.status in _NOT_ALLOWED and not known:
        yield f"group {group} of {names} may not be asked for with this key: its match is not checked", True
    else:
        right = "" if known else f"; match must name a model_name of the gateway's{_some(listed)}"
        yield f"group {group} of {names} is not answered: {answered.wrong}{right}", False


def _nobodys(topology: Topology, record: RequestRecord) -> str:
    """What was seen of an answer that is no tier's, and what to write."""
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
    return f"{why}; write match: {{{', '.join(parts)}}} in the tier that it is"


def models(endpoint: Endpoint) -> list[str]:
    """What it lists. Raises OSError where nothing answers, ValueError where what answers is no list."""
    ollama = endpoint.api == "ollama"
    path = "/api/tags" if ollama else endpoint.path.removesuffix("/chat/completions") + "/models"
    found = page.get(
        endpoint.url_of(path), PATIENCE.connect, endpoint.headers, endpoint.ca_file, LONGEST_LIST
    )
    if found.status is None:
        raise OSError(found.error)
    if found.status != 200:
        where = redirected(found.status, found.headers.get("location"))
        raise ValueError(f"{path} says {found.status}{where}")
    if found.end is not End.COMPLETE:
        raise ValueError(f"{path}: {found.error}")
    try:
        listed = json.loads(page.body(found))
        return [str(m["name"] if ollama else m["id"]) for m in listed["models" if ollama else "data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path} is no list of models") from None


def streams(exchange: Exchange, most: int | None = None, through_gateway: bool = False) -> str:
    """`streams`, where its answer came piece by piece; `answers`, where nobody can tell. Raises NotStreamed.

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
            f"answers, and shows none of its first {answer.output_tokens} tokens (a reasoning model? with a larger "
            "probe_max_tokens it would)"
        )
    if not at:
        raise NotStreamed(f"a streamed request got no token: {clean(error or '')}")
    if at[0] != at[-1]:
        return "streams"
    assert exchange.sent_at is not None, "what was answered was sent"
    took_s = at[0] - exchange.sent_at
    if len(at) == 1 or took_s < AT_ONCE_S:
        return "answers"
    raise NotStreamed(
        f"its {len(at)} chunks came all at once, after {took_s:.2g} s: something on the way holds streams back "
        "(in nginx: proxy_buffering off)"
    )


def _not_listed(name: str, model: str, listed: list[str]) -> str:
    right = (
        "add it to its model_list, or name one of those as the gateway's model"
        if name == GATEWAY
        else "serve it by that name (vLLM: --served-model-name, llama.cpp: --alias), or name one of those"
    )
    some = ", ".join(clean(m) for m in listed[:TOLD]) + (", …" if len(listed) > TOLD else "") or "none"
    return f"it lists {some}, and not {model!r}: {right}"


def _some(listed: list[str] | None) -> str:
    if not listed:
        return ""
    return f" ({', '.join(clean(m) for m in listed[:TOLD])}{', …' if len(listed) > TOLD else ''})"

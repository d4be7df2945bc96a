"""What of a target answers now, before a run: its port, the models that it lists, and whether its answers stream.

It asks for a few tokens, and so costs a little; a cloud tier is not asked. Each finding is a sentence with what would be
right; none of them is a refusal, for a run's baseline shows it too.
"""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.probe import PROMPT
from chaos.wire import Connection, Deadlines
from contract.caps import Use, advice, cap
from contract.endpoint import Endpoint
from contract.framing import Exchange
from contract.outcome import judge, redirected
from contract.proper_end import UNKNOWN
from contract.records import GATEWAY, Outcome
from contract.redact import without
from contract.refusal import Refusal
from contract.stream import read_answer
from contract.topology import Topology
from contract.trust import client_context

PATIENCE = Deadlines(connect=2.0, silence=20.0, whole=30.0)
AT_ONCE_S = 0.3  # an answer that is made faster than this may come in one piece of its own accord
TOLD = 6  # so many models are named


@dataclass(frozen=True, slots=True)
class Serving:
    """One target: what was seen to be well, and what is wrong."""

    target: str
    well: tuple[str, ...]
    wrong: tuple[str, ...]


class NotStreamed(Exception):
    """A streamed ask did not come as it should, and what would be right."""


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
            found.append(
                _looked(name, endpoint, cap(topology, Use.PLAN, name), tier is not None and tier.ignore_eos)
            )
    return found


def told(found: list[Serving]) -> Iterator[str]:
    """As an operator reads it, below the plan."""
    for one in found:
        if one.well:
            yield f"  {one.target}: {', '.join(one.well)}"
        yield from (f"  {one.target}: NOT WELL: {words}" for words in one.wrong)


def _looked(name: str, endpoint: Endpoint, most: int, ignore_eos: bool) -> Serving:
    where = f"{endpoint.host}:{endpoint.port}"
    try:
        listed = models(endpoint)
    except OSError as e:
        return Serving(name, (), (f"nothing answers at {where} ({e}): start it, or set its url right",))
    except (ValueError, http.client.HTTPException) as e:
        wrong = [f"{where} does not list its models: {e}"]
    else:
        wrong = [] if endpoint.model in listed else [_not_listed(name, endpoint.model, listed)]
    well = [] if wrong else [f"lists {endpoint.model}"]
    connection = Connection(endpoint, PATIENCE)
    exchange = connection.exchange(endpoint.request(f"plan-{name}", PROMPT, most, True, ignore_eos))
    connection.close()
    try:
        well.append(streams(exchange, most, name == GATEWAY))
    except NotStreamed as e:
        wrong.append(without(endpoint.secrets, str(e)))
    return Serving(name, tuple(well), tuple(wrong))


def models(endpoint: Endpoint) -> list[str]:
    """What it lists. Raises OSError where nothing answers, ValueError where what answers is no list."""
    host, port, patience_s = endpoint.host, endpoint.port, PATIENCE.connect
    connection = http.client.HTTPConnection(host, port, timeout=patience_s)
    if endpoint.tls:
        trusted = client_context(endpoint.ca_file)
        connection = http.client.HTTPSConnection(host, port, timeout=patience_s, context=trusted)
    ollama = endpoint.api == "ollama"
    path = "/api/tags" if ollama else endpoint.path.removesuffix("/chat/completions") + "/models"
    try:
        connection.request("GET", path, headers=dict(endpoint.headers))
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(
            f"{path} says {answer.status}{redirected(answer.status, answer.getheader('location'))}"
        )
    try:
        page = json.loads(body)
        return [str(m["name"] if ollama else m["id"]) for m in page["models" if ollama else "data"]]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is no list of models") from None


def streams(exchange: Exchange, most: int | None = None, through_gateway: bool = False) -> str:
    """`streams`, where its answer came piece by piece; `answers`, where nobody can tell. Raises NotStreamed.

    `most`: the ask's cap.
    """
    answer = read_answer(exchange) if exchange.status == 200 else None
    outcome, error, _ = judge(exchange, answer, most, UNKNOWN, through_gateway)
    if answer is None:
        helps = advice(error)
        right = f": {helps}" if helps else ""
        raise NotStreamed(f"a streamed ask was not answered: {error}{right}")
    at = answer.token_at
    if not at and outcome is Outcome.OK:
        return (
            f"answers, and shows none of its first {answer.output_tokens} tokens (a reasoning model? with a larger "
            "probe_max_tokens it would)"
        )
    if not at:
        raise NotStreamed(f"a streamed ask got no token: {error}")
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
    some = ", ".join(listed[:TOLD]) + (", …" if len(listed) > TOLD else "") or "none"
    right = (
        "add it to its model_list, or name one of those as the gateway's model"
        if name == GATEWAY
        else "serve it by that name (vLLM: --served-model-name, llama.cpp: --alias), or name one of those"
    )
    return f"it lists {some}, and not {model!r}: {right}"

"""The cap of a request: how many tokens its answer may have at most. One owner, whoever sends the request. Pure.

A topology sets two, for the gateway and for each tier: `max_tokens` for the requests of users, `probe_max_tokens` for the
short ones. A reasoning model may spend either on thoughts that nobody sees.
"""

from enum import StrEnum

from contract.records import GATEWAY
from contract.topology import Server, Topology


class Use(StrEnum):
    """What a request is for."""

    USERS = "users"
    PROBE = "probe"  # and the verification of a restored tier
    WARMUP = "warmup"
    PLAN = "plan"
    WATCH = "watch"


DEFAULT = {
    Use.USERS: 10,
    Use.PROBE: 1,
    Use.WARMUP: 2,
    Use.PLAN: 32,  # enough to see whether tokens come one by one
    Use.WATCH: 8,  # a CPU tier makes two or three a second, and an answer is judged at its end
}
"""Where the topology sets none; of the short ones `probe_max_tokens` raises those that are below it."""


def cap(topology: Topology, use: Use, via: str = GATEWAY) -> int:
    """Of a request to the gateway, or straight to the tier `via`.

    A tier's own word, else the gateway's, else the default. Through the gateway nobody knows who will serve: the gateway's
    word, else the largest that one of its tiers needs.
    """
    gateways = _word(topology.gateway, use)
    if via != GATEWAY:
        own = _word(topology.tier(via), use)
        return _at_least(gateways if own is None else own, use)
    if gateways is not None:
        return _at_least(gateways, use)
    return max(_at_least(_word(tier, use), use) for tier in topology.tiers)


def _word(server: Server, use: Use) -> int | None:
    return server.max_tokens if use is Use.USERS else server.probe_max_tokens


def _at_least(word: int | None, use: Use) -> int:
    if word is None:
        return DEFAULT[use]
    return word if use is Use.USERS else max(word, DEFAULT[use])


def advice(error: str | None) -> str | None:
    """The topology's word that helps where a server refuses a request in these words; None: it is about something else.

    OpenAI's own words, which others repeat, and LiteLLM with them.
    """
    words = (error or "").lower()
    if "max_completion_tokens" in words and "max_tokens" in words and "unsupported parameter" in words:
        wanted = words.partition("use '")[2].partition("'")[0]
        if wanted in ("max_tokens", "max_completion_tokens"):
            return f"set max_tokens_field: {wanted}"
    if "temperature" in words and any(said in words for said in _NO_TEMPERATURE):
        return "set drop_params: [temperature]"
    if any(said in words for said in _CAP_TOO_SMALL):
        return "the model needs a larger cap: set probe_max_tokens, and max_tokens for users"
    return None


_NO_TEMPERATURE = ("unsupported", "does not support parameters", "only temperature=1")
_CAP_TOO_SMALL = (
    "could not finish the message because max_tokens",  # OpenAI: the cap ended within the thoughts
    "integer below minimum value. expected a value >=",  # OpenAI's Responses API, Azure, Groq: at least 16
    "`max_tokens` must be greater than `thinking.budget_tokens`",  # Anthropic: more than its 1024 at least
)

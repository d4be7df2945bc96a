"""The cap of a request: the most tokens that its answer may have. All senders take it from here. Pure.

A topology sets two, for the gateway and for each tier: `max_tokens` for the requests of users, `probe_max_tokens` for the
short ones. A reasoning model may spend either on thoughts that are not shown.
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
    Use.WATCH: 8,  # a CPU tier generates two or three a second, and an answer is judged at its end
}
"""Where the topology sets none. `probe_max_tokens` raises those of the short requests that are below it."""


def cap(topology: Topology, use: Use, via: str = GATEWAY) -> int:
    """The cap of a request to the gateway, or directly to the tier `via`.

    Direct: the tier's own setting, else the gateway's, else the default. Through the gateway the serving tier is not known
    beforehand: the gateway's setting, else the largest that one of its tiers needs.
    """
    gateways = _setting(topology.gateway, use)
    if via != GATEWAY:
        own = _setting(topology.tier(via), use)
        return _at_least(gateways if own is None else own, use)
    if gateways is not None:
        return _at_least(gateways, use)
    return max(_at_least(_setting(tier, use), use) for tier in topology.tiers)


def _setting(server: Server, use: Use) -> int | None:
    return server.max_tokens if use is Use.USERS else server.probe_max_tokens


def _at_least(setting: int | None, use: Use) -> int:
    if setting is None:
        return DEFAULT[use]
    return setting if use is Use.USERS else max(setting, DEFAULT[use])


def advice(error: str | None) -> str | None:
    """The topology setting that fixes a refusal with this text; None: the refusal has another cause.

    The texts are OpenAI's; other servers, and LiteLLM, repeat them.
    """
    words = (error or "").lower()
    if "max_completion_tokens" in words and "max_tokens" in words and "unsupported parameter" in words:
        name = words.partition("use '")[2].partition("'")[0]
        if name in ("max_tokens", "max_completion_tokens"):
            return f"set max_tokens_field: {name}"
    if "temperature" in words and any(phrase in words for phrase in _NO_TEMPERATURE):
        return "set drop_params: [temperature]"
    if any(phrase in words for phrase in _CAP_TOO_SMALL):
        return "the model needs a larger cap: set probe_max_tokens, and max_tokens for users"
    return None


_NO_TEMPERATURE = ("unsupported", "does not support parameters", "only temperature=1")
_CAP_TOO_SMALL = (
    "could not finish the message because max_tokens",  # OpenAI: the cap ended within the thoughts
    "integer below minimum value. expected a value >=",  # OpenAI's Responses API, Azure, Groq: at least 16
    "`max_tokens` must be greater than `thinking.budget_tokens`",  # Anthropic: more than its 1024 at least
)

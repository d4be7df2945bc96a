"""counters.jsonl: what gateway and engines say themselves of how much they answered, read before the load and after it.

Only the counters named here are kept, and of their labels only those named here: no key, no client's name.
"""

from dataclasses import dataclass, field
from typing import Any

from contract.gateway_kind import GatewayKind

BEFORE, AFTER = "before", "after"

VLLM_ANSWERS = "vllm:request_success_total"
"""vLLM: ended answers by `finished_reason`; "abort" is among them."""
LLAMACPP_TOKENS = "llamacpp:tokens_predicted_total"
"""llama.cpp counts no answers; these are the tokens of those that have ended."""
BORN_AT = "process_start_time_seconds"
"""When the process was started whose counters these are: another one counts from nothing."""

WANTED = (VLLM_ANSWERS, LLAMACPP_TOKENS, BORN_AT)
"""And the gateway's own, see `gateway_kind.GatewayKind.answers`."""
LABELS = ("finished_reason",)


def wanted(kind: GatewayKind) -> tuple[str, ...]:
    return WANTED if kind.answers is None else (kind.answers, *WANTED)


def labels(kind: GatewayKind) -> tuple[str, ...]:
    return tuple(label for label in (kind.answers_group, kind.answers_api_base, *LABELS) if label)


@dataclass(slots=True)
class Scrape:
    """One line: what one source told at one instant, or why it told nothing."""

    at: float
    when: str  # before | after
    source: str  # `gateway`, or a tier's name
    url: str
    counters: list[dict[str, Any]] = field(default_factory=list)  # {"name", "labels", "value"}
    error: str | None = None  # None: it was read

"""counters.jsonl: the gateway's and the engines' own counters of answers, read before the load and after it.

Only the counters and labels named here are kept, so that no key and no client name is recorded.
"""

from dataclasses import dataclass, field

from typing_extensions import TypedDict  # pydantic reads no other one before Python 3.12

from contract.gateway_kind import GatewayKind

BEFORE, AFTER = "before", "after"

VLLM_ANSWERS = "vllm:request_success_total"
"""vLLM: ended answers by `finished_reason`, including "abort"."""
LLAMACPP_TOKENS = "llamacpp:tokens_predicted_total"
"""llama.cpp does not count answers; these are the tokens of those that have ended."""
BORN_AT = "process_start_time_seconds"
"""Start time of the process: after a restart its counters begin at 0."""

COUNTERS = (VLLM_ANSWERS, LLAMACPP_TOKENS, BORN_AT)
"""The engines'. The gateway's own counter: `gateway_kind.GatewayKind.answers`."""
LABELS = ("finished_reason",)


def counter_names(kind: GatewayKind) -> tuple[str, ...]:
    return COUNTERS if kind.answers is None else (kind.answers, *COUNTERS)


def labels(kind: GatewayKind) -> tuple[str, ...]:
    return tuple(label for label in (kind.answers_group, kind.answers_api_base, *LABELS) if label)


class Counter(TypedDict):
    """One counter of a page, with those of its labels that are kept."""

    name: str
    labels: dict[str, str]
    value: float  # finite


@dataclass(slots=True)
class Scrape:
    """One line: the counters of one source at one instant, or why they could not be read."""

    at: float
    when: str  # before | after
    source: str  # `gateway`, or a tier's name
    url: str
    counters: list[Counter] = field(default_factory=list)
    error: str | None = None  # None: it was read

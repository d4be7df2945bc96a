"""counters.jsonl: what gateway and engines say themselves of how much they answered, read before the load and after it.

Only the counters named here are kept, and of their labels only those named here: no key, no client's name.
"""

from dataclasses import dataclass, field
from typing import Any

BEFORE, AFTER = "before", "after"

GATEWAY_ANSWERS = "litellm_deployment_success_responses_total"
"""LiteLLM: answers that it calls a success, by the group that served (`model_group`)."""
VLLM_ANSWERS = "vllm:request_success_total"
"""vLLM: ended answers by `finished_reason`; "abort" is among them."""
LLAMACPP_TOKENS = "llamacpp:tokens_predicted_total"
"""llama.cpp counts no answers; these are the tokens of those that have ended."""
BORN_AT = "process_start_time_seconds"
"""When the process was started whose counters these are: another one counts from nothing."""

WANTED = (GATEWAY_ANSWERS, VLLM_ANSWERS, LLAMACPP_TOKENS, BORN_AT)
LABELS = ("model_group", "api_base", "finished_reason")


@dataclass(slots=True)
class Scrape:
    """One line: what one source told at one instant, or why it told nothing."""

    at: float
    when: str  # before | after
    source: str  # `gateway`, or a tier's name
    url: str
    counters: list[dict[str, Any]] = field(default_factory=list)  # {"name", "labels", "value"}
    error: str | None = None  # None: it was read

"""What became of an ask that was no good answer, in words: what it is, and what it is not. Pure."""

import re

from contract.records import Ask, Outcome

_COOLING = re.compile(r"in[ _]cooldown|No deployments available", re.IGNORECASE)
_RAISED = re.compile(r"^\w*(?:Error|Exception|Timeout|timeout|gaierror): ")
_ERRNO = re.compile(r"^\[(?:Errno -?\d+|SSL: \w+)\] ")
_LITELLM = re.compile(r"(?:litellm\.(\w+): )(?:\1: )?")  # it names its class twice
_PLACE = re.compile(r" \(_ssl\.c:\d+\)")


def kind(ask: Ask) -> str:
    """A word or two, for counting: `429 (all cooling down)`, `503`, `refused`."""
    if cooling(ask):
        return "429 (all cooling down)"
    return str(ask.status) if ask.outcome == Outcome.REJECTED else str(ask.outcome)


def words(ask: Ask) -> str:
    """What is known of it; begins with the status where there is one."""
    said = _LITELLM.sub("", (ask.error or "").strip())
    said = _PLACE.sub("", _ERRNO.sub("", _RAISED.sub("", said)))
    match ask.outcome:
        case Outcome.REFUSED:
            return f"no connection: {said}"
        case Outcome.REJECTED if cooling(ask):
            return "429: all in cooldown (no rate limit)"
        case Outcome.REJECTED if ask.status in (401, 403):
            return f"{said} (is it the gateway's key?)"
        case Outcome.REJECTED if "No connected db" in said:  # what LiteLLM says without a database
            return f"{said} (LiteLLM's word for a key that is not its master key)"
        case Outcome.REJECTED | Outcome.FILTERED | Outcome.CUT | Outcome.STALLED:
            return said
    return f"{ask.outcome}: {said}" if said else str(ask.outcome)


def cooling(ask: Ask) -> bool:
    """LiteLLM answers 429 while all it could ask is cooled down after failures: an outage, not somebody's limit."""
    return ask.status == 429 and _COOLING.search(ask.error or "") is not None

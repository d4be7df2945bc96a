"""What became of an ask that was no good answer, in words: what it is, and what it is not. Pure."""

import re

from contract import gateways
from contract.records import Ask, Outcome

_RAISED = re.compile(r"^\w*(?:Error|Exception|Timeout|timeout|gaierror): ")
_ERRNO = re.compile(r"^\[(?:Errno -?\d+|SSL: \w+)\] ")
_PLACE = re.compile(r" \(_ssl\.c:\d+\)")


def kind(ask: Ask) -> str:
    """A word or two, for counting: `429 (all cooling down)`, `503`, `refused`."""
    if cooling(ask):
        return "429 (all cooling down)"
    return str(ask.status) if ask.outcome == Outcome.REJECTED else str(ask.outcome)


def words(ask: Ask) -> str:
    """What is known of it; begins with the status where there is one."""
    said = (ask.error or "").strip()
    for gateway in gateways.every():
        said = gateway.error_prefix.sub("", said) if gateway.error_prefix else said
    said = _PLACE.sub("", _ERRNO.sub("", _RAISED.sub("", said)))
    match ask.outcome:
        case Outcome.REFUSED:
            return f"no connection: {said}"
        case Outcome.REJECTED if cooling(ask):
            return "429: all in cooldown (no rate limit)"
        case Outcome.REJECTED if ask.status in (401, 403):
            return f"{said} (is it the gateway's key?)"
        case Outcome.REJECTED if meaning := gateways.wrong_key(said):
            return f"{said} ({meaning})"
        case Outcome.REJECTED | Outcome.FILTERED | Outcome.CUT | Outcome.STALLED:
            return said
    return f"{ask.outcome}: {said}" if said else str(ask.outcome)


def cooling(ask: Ask) -> bool:
    """A gateway may answer 429 while all it could ask is cooled down after failures: an outage, not somebody's limit."""
    said = ask.error or ""
    return ask.status == 429 and any(g.cooling and g.cooling.search(said) for g in gateways.every())

"""What became of a request that was no good answer, in words: what it is, and what it is not. Pure."""

import re

from contract import gateways
from contract.records import Outcome, RequestRecord

_RAISED = re.compile(r"^\w*(?:Error|Exception|Timeout|timeout|gaierror): ")
_ERRNO = re.compile(r"^\[(?:Errno -?\d+|SSL: \w+)\] ")
_PLACE = re.compile(r" \(_ssl\.c:\d+\)")


def kind(record: RequestRecord) -> str:
    """A word or two, for counting: `429 (all cooling down)`, `503`, `refused`."""
    if cooling(record):
        return "429 (all cooling down)"
    return str(record.status) if record.outcome == Outcome.REJECTED else str(record.outcome)


def words(record: RequestRecord) -> str:
    """What is known of it; begins with the status where there is one."""
    said = (record.error or "").strip()
    for gateway in gateways.every():
        said = gateway.error_prefix.sub("", said) if gateway.error_prefix else said
    said = _PLACE.sub("", _ERRNO.sub("", _RAISED.sub("", said)))
    match record.outcome:
        case Outcome.REFUSED:
            return f"no connection: {said}"
        case Outcome.REJECTED if cooling(record):
            return "429: all in cooldown (no rate limit)"
        case Outcome.REJECTED if record.status in (401, 403):
            return f"{said} (is it the gateway's key?)"
        case Outcome.REJECTED if meaning := gateways.wrong_key(said):
            return f"{said} ({meaning})"
        case Outcome.REJECTED | Outcome.FILTERED | Outcome.CUT | Outcome.STALLED:
            return said
    return f"{record.outcome}: {said}" if said else str(record.outcome)


def cooling(record: RequestRecord) -> bool:
    """A gateway may answer 429 while all it could ask is cooled down after failures: an outage, not somebody's limit."""
    said = record.error or ""
    return record.status == 429 and any(g.cooling and g.cooling.search(said) for g in gateways.every())

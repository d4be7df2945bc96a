"""The error text of a request without a good answer. Pure."""

import re

from contract import gateways
from contract.records import Outcome, RequestRecord

_RAISED = re.compile(r"^\w*(?:Error|Exception|Timeout|timeout|gaierror): ")
_ERRNO = re.compile(r"^\[(?:Errno -?\d+|SSL: \w+)\] ")
_PLACE = re.compile(r" \(_ssl\.c:\d+\)")


def kind(record: RequestRecord) -> str:
    """A short label, for counting: `429 (all in cooldown)`, `503`, `refused`."""
    if gateways.cooling(record.status, record.error or ""):
        return "429 (all in cooldown)"
    return str(record.status) if record.outcome == Outcome.REJECTED else str(record.outcome)


def error_text(record: RequestRecord) -> str:
    """The error; begins with the status where there is one."""
    error = (record.error or "").strip()
    for gateway in gateways.every():
        error = gateway.error_prefix.sub("", error) if gateway.error_prefix else error
    error = _PLACE.sub("", _ERRNO.sub("", _RAISED.sub("", error)))
    match record.outcome:
        case Outcome.REFUSED:
            return f"no connection: {error}"
        case Outcome.REJECTED if gateways.cooling(record.status, record.error or ""):
            return "429: all in cooldown (not a rate limit)"
        case Outcome.REJECTED if record.status in (401, 403):
            return f"{error} (check the gateway's key)"
        case Outcome.REJECTED if meaning := gateways.wrong_key(error):
            return f"{error} ({meaning})"
        case Outcome.REJECTED | Outcome.FILTERED | Outcome.CUT | Outcome.STALLED:
            return error
    return f"{record.outcome}: {error}" if error else str(record.outcome)

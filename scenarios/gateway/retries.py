"""Whether and when a client retries: the rules of openai-node, on which many clients of such gateways are built. Pure."""

import email.utils
import math
from collections.abc import Mapping

from contract.records import Outcome, RequestRecord

RETRIES = 2
_STATUSES = (408, 409, 429)
_FIRST_S, _LONGEST_S = 0.5, 8.0
_JITTER = 0.25
_OBEYED_S = 60.0  # a longer Retry-After is ignored


def is_retried(record: RequestRecord, headers: Mapping[str, str]) -> bool:
    """No connection, no headers in time, 408, 409, 429, 5xx; or the server's x-should-retry.

    An answer that fails after the headers of a 200 is not retried.
    """
    if record.status is None:
        return record.outcome in (Outcome.REFUSED, Outcome.BROKEN, Outcome.TIMEOUT)
    should_retry = headers.get("x-should-retry")
    if should_retry in ("true", "false") and record.status != 200:
        return should_retry == "true"
    return record.status in _STATUSES or record.status >= 500


def wait_s(retry: int, headers: Mapping[str, str], now: float, drawn: float) -> float:
    """Wait before retry number `retry` (from 0): Retry-After, else 0.5 · 2^n s up to 8 s, less up to a quarter.

    `now`: unix seconds, for a Retry-After that is a date. `drawn`: random number from 0 to 1, for jitter.
    """
    requested_s = _requested_s(headers, now)
    if requested_s is not None and 0 <= requested_s < _OBEYED_S:
        return requested_s
    return min(_FIRST_S * 2.0**retry, _LONGEST_S) * (1 - _JITTER * drawn)


def _requested_s(headers: Mapping[str, str], now: float) -> float | None:
    ms = _number(headers.get("retry-after-ms"))
    if ms is not None:
        return ms / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - now
    except (TypeError, ValueError):
        return None


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if math.isfinite(found) else None

"""Whether a client asks again, and when: as openai-node does, which many that speak to such a gateway are built on. Pure."""

import email.utils
import math
from collections.abc import Mapping

from contract.records import Outcome, RequestRecord

RETRIES = 2
_STATUSES = (408, 409, 429)
_FIRST_S, _LONGEST_S = 0.5, 8.0
_JITTER = 0.25
_OBEYED_S = 60.0  # a server that wants more is not obeyed


def is_retried(record: RequestRecord, headers: Mapping[str, str]) -> bool:
    """No connection, no headers in time, 408, 409, 429, 5xx; or what the server itself says in x-should-retry.

    What breaks after the headers of a 200 is not asked again.
    """
    if record.status is None:
        return record.outcome in (Outcome.REFUSED, Outcome.BROKEN, Outcome.TIMEOUT)
    told = headers.get("x-should-retry")
    if told in ("true", "false") and record.status != 200:
        return told == "true"
    return record.status in _STATUSES or record.status >= 500


def wait_s(retry: int, headers: Mapping[str, str], now: float, drawn: float) -> float:
    """Before the retry of this number, from 0: what Retry-After says, else 0.5 · 2^n s up to 8 s, less up to a quarter.

    `now`: unix seconds, for a Retry-After that is a date. `drawn`: from 0 to 1, by which the waits of several differ.
    """
    told = _told_s(headers, now)
    if told is not None and 0 <= told < _OBEYED_S:
        return told
    return min(_FIRST_S * 2.0**retry, _LONGEST_S) * (1 - _JITTER * drawn)


def _told_s(headers: Mapping[str, str], now: float) -> float | None:
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

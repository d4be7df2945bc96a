"""Retries until a condition holds, with back-off after errors. The clock and the wait are parameters."""

from collections.abc import Callable
from typing import Any

from chaos.errors import CannotInject, NotYet
from chaos.kube.cluster import api_error_text

POLL_S = 0.15
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)

Seen = dict[str, Any]
Wait = Callable[[float], str | None]
"""Waits for so many seconds and returns None, or ends the retries and returns the reason."""


def until(
    holds: Callable[[], Seen | None],
    over_at: float,
    now: Callable[[], float],
    wait: Wait,
    raises: tuple[type[Exception], ...],
    give_up: Callable[[], str | None] = lambda: None,
    missing: Callable[[str], float] = lambda why: POLL_S,
) -> tuple[Seen | None, str | None]:
    """Try at least once. Returns (what was seen, None), or (None, why not).

    While it does not hold yet, `holds` returns None or raises NotYet with what is missing; `missing` gets that text and
    returns the pause in seconds. `raises`: exceptions that end the retries. Any other exception, also a bug, is retried
    after a longer pause, unless `give_up` returns a reason to end.
    """
    failures = 0
    why: str | None = "not seen in time"
    while True:
        try:
            seen = holds()
            if seen is not None:
                return seen, None
            why, failures = "not ready", 0
            pause = missing(why)
        except raises:
            raise
        except NotYet as e:
            why, failures = str(e), 0
            pause = missing(why)
        except Exception as e:  # no restore may end with a traceback
            why = error_text(e)
            gone = give_up()
            if gone is not None:
                return None, gone
            pause = max(missing(why), BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1
        if now() + pause > over_at:
            return None, why
        ended = wait(pause)
        if ended is not None:
            return None, ended


def error_text(error: Exception) -> str:
    """An error in one line, short enough for an event."""
    if isinstance(error, CannotInject):
        return str(error)[:1000]
    return api_error_text(error)

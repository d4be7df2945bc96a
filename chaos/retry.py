"""Tries until something holds, with back-off where the world does not answer. The clock and the waiting are handed in."""

from collections.abc import Callable
from typing import Any

from chaos.errors import CannotInject, NotYet
from chaos.kube.cluster import error_text

POLL_S = 0.15
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)

Seen = dict[str, Any]
Wait = Callable[[float], str | None]
"""Waits for so many seconds, and returns None; or ends the trying, and returns why."""


def until(
    holds: Callable[[], Seen | None],
    over_at: float,
    now: Callable[[], float],
    wait: Wait,
    raises: tuple[type[Exception], ...],
    give_up: Callable[[], str | None] = lambda: None,
    missing: Callable[[str], float] = lambda why: POLL_S,
) -> tuple[Seen | None, str | None]:
    """Tried once at least: (what was seen, None), or (None, why not).

    `holds` returns None, or raises NotYet with what is missing, where it does not hold yet; `missing` gets these words and
    returns the pause in seconds. `raises`: what ends the trying as an exception. Everything else, a mistake of ours too, is
    tried again after a longer pause, unless `give_up` has a reason to end.
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
            why = words(e)
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


def words(error: Exception) -> str:
    """An error in one line, short enough for an event."""
    if isinstance(error, CannotInject):
        return str(error)[:1000]
    return error_text(error)

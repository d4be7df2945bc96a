"""The events of one restore → which process restored the target, when, and whether an answer verified it. Pure.

Readiness is not an answer: an `effective` event is verified only if it has `answered: yes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

CONTROLLER = "timeline"
YES = "yes"


@dataclass(frozen=True, slots=True)
class Restored:
    """Instants are unix seconds. All None: the target was not seen ready again."""

    at: float | None = None  # verified by an answer
    by: str | None = None  # timeline, guardian, restore, reaper, takeover
    # Ready, but not verified by an answer; None: not ready before `at`.
    ready_at: float | None = None
    ready_by: str | None = None
    unanswered: str | None = None  # why no answer verified `ready_at`
    # The controller's error: it commanded the restore, and got no proof that the target was back.
    refused: str | None = None
    waiting_at: float | None = None  # the first event of stage `waiting`
    missing: tuple[str, ...] = ()  # what was missing by those events, each once


def restored_of(rows: pd.DataFrame) -> Restored:
    """`rows`: the events of one trial, in the order of their instants.

    The first verification counts. If the target was lost again and restored (`again`), earlier ones are void; so are those of a
    restorer that reported a failure after them.
    """
    events = [
        row | {"detail": row["detail"] if isinstance(row["detail"], dict) else {}}
        for row in rows[rows["move"] == "restore"].to_dict("records")
    ]
    waiting = [e for e in events if e["stage"] == "waiting"]
    missing = (e["detail"].get("missing") for e in waiting)
    found = [
        e for i, e in enumerate(events) if e["stage"] == "effective" and not _revoked(e, events[i + 1 :])
    ]
    last_again = max((i for i, e in enumerate(found) if e["detail"].get("again")), default=0)
    found = found[last_again:]
    verified = next((e for e in found if _answered(e)), None)
    ready = found[0] if found and not _answered(found[0]) else None
    return Restored(
        at=None if verified is None else float(verified["at"]),
        by=None if verified is None else str(verified["by"]),
        ready_at=None if ready is None else float(ready["at"]),
        ready_by=None if ready is None else str(ready["by"]),
        unanswered=None
        if ready is None
        else str(ready["detail"].get("unanswered") or "its event has no reason"),
        refused=_refused(events),
        waiting_at=float(waiting[0]["at"]) if waiting else None,
        missing=tuple(dict.fromkeys(str(words) for words in missing if words)),
    )


def _answered(effective: Mapping[Any, Any]) -> bool:
    return bool(effective["detail"].get("answered") == YES)


def _revoked(effective: Mapping[Any, Any], later: list[dict[Any, Any]]) -> bool:
    """Whether the process that wrote it later reported that the target is not back."""
    return any(e["by"] == effective["by"] and _failed(e) for e in later)


def _failed(event: Mapping[Any, Any]) -> bool:
    """A failure to restore the target. Not one: someone else changed it (`foreign`), its machine is gone (`gone`), or the target
    is back and only its claim could not be released (`back`)."""
    return bool(event["stage"] == "fail") and not any(
        event["detail"].get(word) for word in ("foreign", "gone", "back")
    )


def _refused(events: list[dict[Any, Any]]) -> str | None:
    mine = [e for e in events if e["by"] == CONTROLLER]
    commanded = next((i for i, e in enumerate(mine) if e["stage"] == "commanded"), None)
    if commanded is None:
        return None
    return next((str(e["error"] or "it failed") for e in reversed(mine[commanded:]) if _failed(e)), None)

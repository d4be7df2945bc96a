"""The view for programs: one JSON object per line. `kind`: request, failover, outage, recovery, covered or summary.

Names and units are those of the records: times in unix seconds, durations in `_ms` and `_s`, null for unknown.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

from chaos.watch.changes import Change, Changes, Failover, Outage
from chaos.watch.error_text import error_text
from chaos.watch.lines import TEXT
from chaos.watch.lineup import FIRST
from chaos.watch.summary import Summary
from contract.printable import shortened
from contract.records import Outcome, RequestRecord

FIELDS = (
    "request_id", "scheduled_at", "sent_at", "outcome", "status", "error", "latency_ms", "ttft_ms", "tier",
    "route_group", "route_api_base", "route_fallbacks", "output_tokens", "max_tokens", "finish_reason", "witness",
)  # fmt: skip


class Objects:
    """Raises OSError where the reader has gone."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def ended(self, n: int, record: RequestRecord, name: str | None, place: int | None, text: str) -> None:
        self._write(
            "request", n=n, served_by=name, place=None if place is None else "primary" if place == FIRST else "fallback",
            **{key: getattr(record, key) for key in FIELDS},
            error_text=None if record.outcome == Outcome.OK else error_text(record), text=shortened(text, TEXT),
        )  # fmt: skip

    def changed(self, change: Change, changes: Changes) -> None:
        self._write(**as_object(change, changes))

    def covered(self, now: float, waiting: Mapping[int, float]) -> None:
        self._write("covered", at=now, waiting=sorted(waiting))

    def waiting(self, now: float, waiting: Mapping[int, float]) -> None:
        pass  # only a line that can be redrawn shows that requests wait

    def closed(self, summary: Summary, changes: Changes) -> None:
        self._write("summary", **asdict(summary), changes=[as_object(c, changes) for c in changes.all])

    def _write(self, kind: str, **fields: Any) -> None:
        self._out.write(json.dumps({"kind": kind} | fields) + "\n")
        self._out.flush()


def as_object(change: Change, changes: Changes) -> dict[str, Any]:
    """`lower_s` and `upper_s` bound the gap, by what is known now."""
    fields: dict[str, Any] = {"kind": type(change).__name__.lower(), "at": change.at, "n": change.n}
    if isinstance(change, Outage):
        error = None if change.record is None else error_text(change.record)
        return fields | {"since_at": change.since_at, "until_at": change.until_at, "error_text": error}
    gap = changes.gap_s(change)
    lower_s, upper_s = gap or (None, None)
    fields |= {
        "to": change.to,
        "before": change.before,
        "waited_s": None if gap is None else change.silence.waited_s(),
    }
    fields |= {"lower_s": lower_s, "upper_s": upper_s}
    if isinstance(change, Failover):
        return fields
    return fields | {"on": list(change.on), "on_s": change.on_s}

"""The parts of a run: each fault's window, and what lies before, between and after; every request counts in one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from analysis.metrics.windows import Phase, Trial, phases_of
from contract.records import Outcome

COLUMNS = ["scheduled_at", "sent_at", "ended_at", "outcome"]  # which a request's place rests on


class Kind(StrEnum):
    """Of a part; its value stands in pages."""

    WHOLE = "in the run, which had no fault"
    BEFORE = "before the first fault"
    DURING = "during faults"
    BETWEEN = "between faults"
    AFTER = "after the last fault"


@dataclass(frozen=True, slots=True)
class Part:
    """One part, in unix seconds. Its `phases` divide its time without a pause."""

    kind: Kind
    phases: tuple[Phase, ...]
    start: float
    end: float  # not after `start` where two faults' windows overlap, or follow at once: then nothing lies between


def window(trial: Trial) -> tuple[float, float] | None:
    """A fault's window: its inject's begin → its restore is verified. None: the inject never began.

    A restore that nobody verified leaves the window open until the next fault on the same target, or the end of what is
    known. The begin, and not the command: a command may take effect long before it has returned.
    """
    if trial.gone_from is None:
        return None
    start = trial.gone_from if trial.begun_at is None else min(trial.begun_at, trial.gone_from)
    return start, max(start, trial.gone_until)


def parts_of(trials: Sequence[Trial], started_at: float, ended_at: float) -> list[Part]:
    """All parts, in order: a gap, then a window and a gap for each fault, by the windows' begins.

    So the windows are those at odd places. The phases of a window are its trial's, from its begin on; a gap has one:
    `baseline` before the first fault, `settling` of the fault whose window ended last.
    """
    found = [(w, t) for t in trials if (w := window(t)) is not None]
    found.sort(key=lambda one: one[0][0])
    begins = [start for (start, _), _ in found]
    base = Phase("baseline", "", 0, "", started_at, max(started_at, begins[0] if begins else ended_at))
    parts = [Part(Kind.BEFORE if found else Kind.WHOLE, (base,), base.start, base.end)]
    last: tuple[float, Trial] | None = None
    for i, ((start, end), trial) in enumerate(found):
        parts.append(Part(Kind.DURING, _within(trial, start, end), start, end))
        if last is None or end >= last[0]:
            last = (end, trial)
        since, of = last
        kind, until = (Kind.BETWEEN, begins[i + 1]) if i + 1 < len(found) else (Kind.AFTER, ended_at)
        settling = Phase("settling", of.step, of.trial, of.target, since, max(since, until))
        parts.append(Part(kind, (settling,), since, settling.end))
    return parts


def kinds(parts: Sequence[Part]) -> list[Kind]:
    """Those that the run has, in order: between faults that overlap lies nothing."""
    return list(dict.fromkeys(p.kind for p in parts if p.kind is Kind.DURING or p.end > p.start))


def _within(trial: Trial, start: float, end: float) -> tuple[Phase, ...]:
    """The trial's phases but for its settling, the first of them from the window's begin on."""
    phases = [p for p in phases_of(trial) if p.name != "settling"]
    if not phases:  # it was restored in the instant in which it began
        return (Phase("transition", trial.step, trial.trial, trial.target, start, end),)
    first, *rest = phases
    return (Phase(first.name, first.step, first.trial, first.target, start, first.end, first.open), *rest)


def part_of(parts: Sequence[Part], sent: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """Where each request counts: the place in `parts` of the first window that its [sent, ended] touches, else of its gap.

    A request counts once. Touches: sent before the window's end, and ended at its begin or later, whatever came of it:
    one that was sent before a fault and cut by it counts in the fault's window, and so does one that was answered well
    all the same. One that touches several windows counts in the one that began first; so where faults overlap, in the one that
    held already. One that touches none was sent before the first fault, between two, or after the last. An end that
    nobody knows is endless (`span`). A window that lasts until the end of what is known holds what was sent then, too.
    """
    ends = np.maximum.accumulate(np.array([p.end for p in parts[1::2]], dtype=float))
    if parts[-1].end <= parts[-1].start:
        ends[ends == ends[-1:]] = np.inf
    starts = np.array([p.start for p in parts[1::2]], dtype=float)
    over = np.searchsorted(ends, sent, "right")  # so many windows, the first ones, had ended when it was sent
    touches = np.append(starts, np.inf)[over] <= ended
    return (2 * over + (touches & (over < len(starts)))).astype(np.int32)


def span(requests: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """[sent, ended] of these requests (COLUMNS). One that was never sent has the instant in which it was intended.

    One without an end was under way until the end of what is known, where it was sent or left alone (abandoned); else it was
    over at once.
    """
    sent = requests["sent_at"].to_numpy(float)
    unsent = np.isnan(sent)
    sent = np.where(unsent, requests["scheduled_at"].to_numpy(float), sent)
    ended = requests["ended_at"].to_numpy(float)
    waiting = ~unsent | (requests["outcome"] == Outcome.ABANDONED).to_numpy(bool)
    ended = np.where(np.isnan(ended), np.where(waiting, np.inf, sent), ended)
    return sent, np.maximum(sent, ended)


@dataclass(frozen=True, slots=True)
class Places:
    """Where requests count: the `part` (see `part_of`), and the `row`, which is a place among the phases of all parts, in order.

    Within its part a request counts in the first phase that it touches.
    """

    part: np.ndarray
    row: np.ndarray
    sent_in: np.ndarray  # the part in which each was sent

    @property
    def elsewhere(self) -> np.ndarray:
        """Which were sent in one part and count in another: they touch the window of a fault that began later."""
        return self.part != self.sent_in


def places(parts: Sequence[Part], requests: pd.DataFrame) -> Places:
    """Of each of these requests (COLUMNS), in their order."""
    sent, ended = span(requests)
    part = part_of(parts, sent, ended)
    return Places(part, _row(parts, part, sent), part_of(parts, sent, sent))


def _row(parts: Sequence[Part], part: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """The phase of its part in which a request was when it was sent; the first one, where it was sent before the part."""
    found = np.cumsum([0, *(len(p.phases) for p in parts)], dtype=np.int32)[part]
    within = np.flatnonzero(part % 2)
    within = within[np.argsort(part[within], kind="stable")]
    edges = np.searchsorted(part[within], np.arange(1, len(parts) + 1, 2))
    for i, first, last in zip(range(1, len(parts), 2), edges[:-1], edges[1:], strict=True):
        mine, begins = within[first:last], [p.start for p in parts[i].phases[1:]]
        found[mine] += np.searchsorted(begins, sent[mine], "right").astype(np.int32)
    return found

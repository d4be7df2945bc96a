"""The parts of a run: each fault's window, and the time before, between and after; every request counts in one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from analysis.metrics.windows import Phase, Trial, phases_of
from contract.records import Outcome

COLUMNS = ["scheduled_at", "sent_at", "ended_at", "outcome"]  # that determine a request's part


class Kind(StrEnum):
    """The kind of a part; pages show its value."""

    WHOLE = "in the run, which had no fault"
    BEFORE = "before the first fault"
    DURING = "during faults"
    BETWEEN = "between faults"
    AFTER = "after the last fault"


@dataclass(frozen=True, slots=True)
class Part:
    """One part, in unix seconds. Its `phases` divide its time without gaps."""

    kind: Kind
    phases: tuple[Phase, ...]
    start: float
    end: float  # not after `start` if two faults' windows overlap or adjoin: then there is nothing between


def window(trial: Trial) -> tuple[float, float] | None:
    """A fault's window: its inject's begin → its restore is verified. None: the inject never began.

    Without a verified restore the window lasts until the next fault on the same target, or the end of the records. It starts at
    the begin and not at the command, since a command may take effect long before it returns.
    """
    if trial.gone_from is None:
        return None
    start = trial.gone_from if trial.begun_at is None else min(trial.begun_at, trial.gone_from)
    return start, max(start, trial.gone_until)


def parts_of(trials: Sequence[Trial], started_at: float, ended_at: float) -> list[Part]:
    """All parts, in order: a gap, then a window and a gap for each fault, by the windows' begins.

    So the windows have odd indices. The phases of a window are its trial's, from its begin on. A gap has one phase:
    `baseline` before the first fault, else `settling` of the fault whose window ended last.
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
    """The kinds in the run, in order; overlapping faults have nothing between them."""
    return list(dict.fromkeys(p.kind for p in parts if p.kind is Kind.DURING or p.end > p.start))


def _within(trial: Trial, start: float, end: float) -> tuple[Phase, ...]:
    """The trial's phases without its settling; the first begins with the window."""
    phases = [p for p in phases_of(trial) if p.name != "settling"]
    if not phases:  # it was restored at the instant it began
        return (Phase("transition", trial.step, trial.trial, trial.target, start, end),)
    first, *rest = phases
    return (Phase(first.name, first.step, first.trial, first.target, start, first.end, first.open), *rest)


def part_of(parts: Sequence[Part], sent: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """Where each request counts: the index in `parts` of the first window that its [sent, ended] touches, else of its gap.

    A request counts once. It touches a window if it was sent before the window's end and ended at its begin or later, whatever
    its outcome: one that was sent before a fault and cut by it counts in the fault's window, and so does one that got a good
    answer. One that touches several windows counts in the one that began first. One that touches none was sent before the first
    fault, between two, or after the last. An unknown end is infinite (`span`). A window that lasts until the end of the records
    includes requests sent at that instant.
    """
    ends = np.maximum.accumulate(np.array([p.end for p in parts[1::2]], dtype=float))
    if parts[-1].end <= parts[-1].start:
        ends[ends == ends[-1:]] = np.inf
    starts = np.array([p.start for p in parts[1::2]], dtype=float)
    over = np.searchsorted(ends, sent, "right")  # the number of windows that had ended when it was sent
    touches = np.append(starts, np.inf)[over] <= ended
    return (2 * over + (touches & (over < len(starts)))).astype(np.int32)


def span(requests: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """[sent, ended] of these requests (COLUMNS). A request that was never sent has its scheduled time.

    A request without an end was under way until the end of the records if it was sent or abandoned; else it ended at once.
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
    """Where requests count: the `part` (see `part_of`), and the `row`, an index into the phases of all parts, in order.

    Within its part a request counts in the first phase that it touches.
    """

    part: np.ndarray
    row: np.ndarray
    sent_in: np.ndarray  # the part in which each was sent

    @property
    def elsewhere(self) -> np.ndarray:
        """Mask: sent in one part and counted in another, since they touch the window of a fault that began later."""
        return self.part != self.sent_in


def places(parts: Sequence[Part], requests: pd.DataFrame) -> Places:
    """The places of these requests (COLUMNS), in their order."""
    sent, ended = span(requests)
    part = part_of(parts, sent, ended)
    return Places(part, _row(parts, part, sent), part_of(parts, sent, sent))


def _row(parts: Sequence[Part], part: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """The phase of its part in which a request was sent; the first one if it was sent before the part."""
    found = np.cumsum([0, *(len(p.phases) for p in parts)], dtype=np.int32)[part]
    within = np.flatnonzero(part % 2)
    within = within[np.argsort(part[within], kind="stable")]
    edges = np.searchsorted(part[within], np.arange(1, len(parts) + 1, 2))
    for i, first, last in zip(range(1, len(parts), 2), edges[:-1], edges[1:], strict=True):
        mine, begins = within[first:last], [p.start for p in parts[i].phases[1:]]
        found[mine] += np.searchsorted(begins, sent[mine], "right").astype(np.int32)
    return found

"""Events → the stages of every trial of every step, and the phases that divide its time. Pure.

A stage without an event is None, and a phase without a known end is open, as in a killed run.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from analysis.metrics.restored import restored_of
from contract.duration import text
from contract.ranks import Ranks, above, rank_of


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of one step. Instants are unix seconds; None: no event that this stage was reached."""

    step: str
    trial: int
    fault: str
    target: str
    begun_at: float | None  # inject
    commanded_at: float | None
    effective_at: float | None
    restore_begun_at: float | None
    restore_commanded_at: float | None
    restored_at: float | None  # verified by an answer
    restored_by: str | None  # timeline, guardian, restore, reaper, takeover; None: not verified
    ends_at: float  # the next fault on the same target begins, or the records end
    errors: tuple[str, ...] = ()  # the errors of the events of stage `fail`
    foreign: bool = False  # someone else changed the target: left alone, and not verified
    ready_at: float | None = None  # it was ready, but chaos had no answer yet; see `restored.Restored`
    ready_by: str | None = None
    unanswered: str | None = None  # why chaos got none
    witness: str | None = None  # the answer in the run's records that verified it instead of chaos
    refused: str | None = None  # the controller's error: it commanded the restore, but got no proof
    inject_waiting_at: float | None = None  # from here on the probe is slow
    restore_waiting_at: float | None = None
    missing: tuple[str, ...] = ()  # what the restore waited for

    @property
    def name(self) -> str:
        return f"{self.step} #{self.trial}"

    @property
    def gone_from(self) -> float | None:
        """When the target may be missing from: commanded, or at least begun."""
        return self.commanded_at if self.commanded_at is not None else self.begun_at

    @property
    def gone_until(self) -> float:
        """When the target may be missing until: its restore was verified, or the trial ended."""
        return self.ends_at if self.restored_at is None else min(self.restored_at, self.ends_at)

    @property
    def back_from(self) -> float | None:
        """When recovery starts: verified; if an answer in the run's records is the proof, ready."""
        return self.ready_at if self.witness is not None else self.restored_at

    def covers(self, at: float) -> bool:
        """Whether the target may be missing at this instant."""
        return self.gone_from is not None and self.gone_from <= at < self.gone_until


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a trial's time. `open`: there is no event of its end, and `end` is the end of the trial."""

    name: str  # baseline | transition | in effect | restoring | settling
    step: str
    trial: int
    target: str
    start: float
    end: float
    open: bool = False


def trials_of(events: pd.DataFrame, ended_at: float) -> list[Trial]:
    """Every trial of every step, in the order in which they began."""
    if events.empty:
        return []
    found = [
        _trial(str(step), int(str(trial)), rows, ended_at)
        for (step, trial), rows in events.groupby(["step", "trial"], sort=False)
    ]
    found.sort(key=lambda t: _began(t))
    return [_until_next(t, found) for t in found]


def phases_of(trial: Trial) -> list[Phase]:
    """The trial's phases in order; empty if the inject never began.

    transition: commanded → effective. in effect: → the restore is commanded. restoring: → verified. settling: → the next
    fault on the same target, or the end. A transition that was never verified lasts until the restore is commanded.
    """
    if trial.gone_from is None:
        return []
    restore_at = (
        trial.restore_commanded_at if trial.restore_commanded_at is not None else trial.restore_begun_at
    )
    stages = [
        ("transition", trial.gone_from),
        ("in effect", trial.effective_at),
        ("restoring", restore_at if restore_at is not None else trial.restored_at),
        ("settling", trial.restored_at),
    ]
    # A manual restore may come long after the records end.
    reached = [(name, min(at, trial.ends_at)) for name, at in stages if at is not None]
    out = []
    for (name, start), (_, end) in pairwise([*reached, ("end", trial.ends_at)]):
        if end > start:
            out.append(Phase(name, trial.step, trial.trial, trial.target, start, end))
    if out and out[-1].name != "settling":
        last = out.pop()
        out.append(Phase(last.name, last.step, last.trial, last.target, last.start, last.end, open=True))
    return out


def top_at(at: np.ndarray, tier: str, ranks: Ranks, trials: list[Trial]) -> np.ndarray:
    """Mask over these instants (ascending): where `tier` is an expected top of the fallback.

    Faults hold every tier of the ranks above its own, and none holds it; its peers are then expected tops too.
    """
    if rank_of(ranks, tier) is None or not len(at):
        return np.zeros(len(at), dtype=bool)
    names = [*above(ranks, tier), tier]
    held = np.zeros((len(names), len(at)), dtype=bool)
    for t in trials:
        if t.gone_from is not None and t.target in names:
            first, last = np.searchsorted(at, [t.gone_from, t.gone_until])
            held[names.index(t.target), first:last] = True
    return held[:-1].all(axis=0) & ~held[-1]


def instant(at: float | None, started_at: float) -> str:
    """An instant as the time since the run's start: `+40.31s`; None: `never`."""
    return "never" if at is None else f"+{text(round(max(0.0, at - started_at), 2))}"


def _began(trial: Trial) -> float:
    stages = (
        trial.begun_at,
        trial.commanded_at,
        trial.effective_at,
        trial.restore_begun_at,
        trial.restored_at,
    )
    return min((s for s in stages if s is not None), default=trial.ends_at)


def _trial(step: str, trial: int, rows: pd.DataFrame, ended_at: float) -> Trial:
    def first(move: str, stage: str) -> float | None:
        at = rows.loc[(rows["move"] == move) & (rows["stage"] == stage), "at"]
        return None if at.empty else float(at.iloc[0])

    restored = restored_of(rows)
    failed = rows[rows["stage"] == "fail"]
    errors = tuple(f"{r['move']}: {r['error'] or 'failed'}" for r in failed.to_dict("records"))
    details = [d for d in failed["detail"] if isinstance(d, dict)]
    return Trial(
        step=step,
        trial=trial,
        fault=str(rows["fault"].iloc[0]),
        target=str(rows["target"].iloc[0]),
        begun_at=first("inject", "begin"),
        commanded_at=first("inject", "commanded"),
        effective_at=first("inject", "effective"),
        restore_begun_at=first("restore", "begin"),
        restore_commanded_at=first("restore", "commanded"),
        restored_at=restored.at,
        restored_by=restored.by,
        ends_at=ended_at,
        errors=errors,
        foreign=any(d.get("foreign") for d in details),
        ready_at=restored.ready_at,
        ready_by=restored.ready_by,
        unanswered=restored.unanswered,
        refused=restored.refused,
        inject_waiting_at=first("inject", "waiting"),
        restore_waiting_at=restored.waiting_at,
        missing=restored.missing,
    )


def _until_next(trial: Trial, all_trials: list[Trial]) -> Trial:
    later = [
        o.begun_at
        for o in all_trials
        if o.target == trial.target
        and o.begun_at is not None
        and o is not trial
        and o.begun_at > _began(trial)
    ]
    return replace(trial, ends_at=min([*later, trial.ends_at]))

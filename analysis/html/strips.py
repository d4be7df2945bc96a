"""The strips above the timeline: when a fault was in force, the gateway down or slow, a tier unwell, the client late."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.evidence import Evidence
from analysis.metrics.availability import Stretches, union
from analysis.metrics.windows import Phase, Trial, phases_of
from analysis.reporting.formatting import length
from contract.records import GATEWAY

# So many parts of a run's length an eye can tell apart; shorter pauses between two marks are closed.
TOLD_APART = 3000
HEALTH_S = 2.5  # a row of health tells of no longer than this

FAULT, DOWN, SLOW, UNWELL, SILENT, LATE = "fault", "down", "slow", "unwell", "silent", "late"


def strips(run: Evidence) -> list[dict[str, Any]]:
    """One for each row, from the top: its name, its kind, and its marks: start, length (s since start) and what each says.

    Steps of the timeline always; the others where there is anything to mark.
    """
    found = _faults(run)
    others: list[tuple[str, str, Stretches | None]] = [
        ("no good answer", DOWN, run.down),
        ("slow answers", SLOW, run.brown),
        *((f"{tier} unwell", UNWELL, unwell(run.health, tier)) for tier in (GATEWAY, *run.frames.tiers)),
        ("probe silent", SILENT, run.unprobed),
        ("client overloaded", LATE, overloaded(run.overloaded)),
    ]
    for name, kind, stretches in others:
        if stretches is not None and len(stretches):
            found.append(_strip(run, name, kind, stretches))
    return found


def unwell(health: pd.DataFrame, tier: str) -> Stretches:
    """Where this tier's health checks failed: each failed one until the next."""
    rows = health.loc[health["tier"] == tier, ["at", "up"]]
    at = rows["at"].to_numpy(float)
    failed = rows["up"].eq(False).fillna(False).to_numpy(bool)
    until = np.minimum(np.append(at[1:], np.inf), at + HEALTH_S)
    return Stretches(at[failed], until[failed])


def overloaded(seconds: pd.DataFrame) -> Stretches:
    """The seconds in which a load generator was overloaded; each row tells of the second before its `at`."""
    until = np.sort(seconds["at"].to_numpy(float))
    return Stretches(until - 1.0, until)


def _faults(run: Evidence) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for t in run.trials:
        strip = rows.setdefault(
            t.step,
            {
                "name": t.step,
                "kind": FAULT,
                "start": [],
                "length": [],
                "says": [],
                "full": [],
                "word": t.target,
            },
        )
        for p in phases_of(t):
            if p.name == "settling":
                continue
            strip["start"].append(round(p.start - run.frames.started_at, 3))
            strip["length"].append(round(p.end - p.start, 3))
            strip["full"].append(p.name == "in effect")
            strip["says"].append(f"{t.name}: {t.fault} on {t.target}, {p.name}{_more(t, p)}")
    return list(rows.values())


def _more(trial: Trial, phase: Phase) -> str:
    """Of a restore how long it took and what it waited for; of what never ended, that."""
    said = " (its end was never told)" if phase.open else ""
    if phase.name == "restoring":
        said += f", {length(phase.end - phase.start)}" + "".join(f": {words}" for words in trial.missing[-1:])
    return said


def _strip(run: Evidence, name: str, kind: str, stretches: Stretches) -> dict[str, Any]:
    drawn, start = _closed(stretches, run), run.frames.started_at
    return {
        "name": name,
        "kind": kind,
        "start": np.round(drawn.start - start, 3).tolist(),
        "length": np.round(drawn.end - drawn.start, 3).tolist(),
        "says": f"{name}: {stretches.s:.2f} s of the run in all",
    }


def _closed(stretches: Stretches, run: Evidence) -> Stretches:
    """With pauses closed that nobody could see."""
    pause_s = (run.frames.ended_at - run.frames.started_at) / TOLD_APART
    joined = union(Stretches(stretches.start, stretches.end + pause_s))
    return Stretches(joined.start, joined.end - pause_s)

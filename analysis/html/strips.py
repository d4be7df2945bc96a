"""The strips above the timeline: when a fault was in force, the gateway down or slow, a tier unhealthy, the client overloaded."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.evidence import Evidence
from analysis.metrics.availability import Stretches, union
from analysis.metrics.windows import Phase, Trial, phases_of
from analysis.reporting.formatting import length
from contract.records import GATEWAY

# Number of visually distinct parts of a run's length; shorter pauses between two marks are closed.
DISTINCT = 3000
HEALTH_S = 2.5  # a row of health is valid for at most this long

FAULT, DOWN, SLOW, UNWELL, SILENT, LATE = "fault", "down", "slow", "unwell", "silent", "late"


def strips(run: Evidence) -> list[dict[str, Any]]:
    """One strip per row, from the top: its name, its kind, and its marks: start, length (s since start) and text.

    Steps of the timeline always have a strip; the others only if there is anything to mark.
    """
    found = _faults(run)
    others: list[tuple[str, str, Stretches | None]] = [
        ("no good answer", DOWN, run.down),
        ("slow answers", SLOW, run.brown),
        *((f"{tier} unhealthy", UNWELL, unwell(run.health, tier)) for tier in (GATEWAY, *run.frames.tiers)),
        ("probe silent", SILENT, run.unprobed),
        ("client overloaded", LATE, overloaded(run.overloaded)),
    ]
    for name, kind, stretches in others:
        if stretches is not None and len(stretches):
            found.append(_strip(run, name, kind, stretches))
    return found


def unwell(health: pd.DataFrame, tier: str) -> Stretches:
    """The stretches in which this tier's health checks failed: from each failed check until the next."""
    rows = health.loc[health["tier"] == tier, ["at", "up"]]
    at = rows["at"].to_numpy(float)
    failed = rows["up"].eq(False).fillna(False).to_numpy(bool)
    until = np.minimum(np.append(at[1:], np.inf), at + HEALTH_S)
    return Stretches(at[failed], until[failed])


def overloaded(seconds: pd.DataFrame) -> Stretches:
    """The seconds in which a load generator was overloaded; each row is about the second before its `at`."""
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
                "text": [],
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
            strip["text"].append(f"{t.name}: {t.fault} on {t.target}, {p.name}{_more(t, p)}")
    return list(rows.values())


def _more(trial: Trial, phase: Phase) -> str:
    """How long a restore took and what it waited for; whether the end of the phase was not recorded."""
    text = " (its end was not recorded)" if phase.open else ""
    if phase.name == "restoring":
        text += f", {length(phase.end - phase.start)}" + "".join(f": {words}" for words in trial.missing[-1:])
    return text


def _strip(run: Evidence, name: str, kind: str, stretches: Stretches) -> dict[str, Any]:
    drawn, start = _closed(stretches, run), run.frames.started_at
    return {
        "name": name,
        "kind": kind,
        "start": np.round(drawn.start - start, 3).tolist(),
        "length": np.round(drawn.end - drawn.start, 3).tolist(),
        "text": f"{name}: {stretches.s:.2f} s of the run in total",
    }


def _closed(stretches: Stretches, run: Evidence) -> Stretches:
    """With pauses closed that are too short to see."""
    pause_s = (run.frames.ended_at - run.frames.started_at) / DISTINCT
    joined = union(Stretches(stretches.start, stretches.end + pause_s))
    return Stretches(joined.start, joined.end - pause_s)

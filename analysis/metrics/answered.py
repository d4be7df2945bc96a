"""Verifies restores by the run's own records if no restorer got an answer: a target that answers is back. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.metrics.target_loss import given_by
from analysis.metrics.windows import Trial
from contract.records import GATEWAY

COLUMNS = ["request_id", "lane", "via", "tier", "good", "sent_at", "ended_at"]


def by_answers(trials: Sequence[Trial], requests: pd.DataFrame) -> list[Trial]:
    """The trials; those that were ready and not verified by chaos are verified by the first good answer, if there is one.

    An answer counts if the target gave it (a tier: direct or through the gateway; the gateway: any answer through it) to a
    request sent after the target was ready and before the next fault on it. The restore is verified when that answer ended.
    Requests are sorted by the time they were sent.
    """
    if all(t.ready_at is None for t in trials):
        return list(trials)
    return [_by_answer(t, requests) for t in trials]


def _by_answer(trial: Trial, requests: pd.DataFrame) -> Trial:
    if trial.ready_at is None:
        return trial
    sent_at = requests["sent_at"].to_numpy(float)
    first, last = np.searchsorted(sent_at, [trial.ready_at, trial.ends_at], "right")
    rows = requests.iloc[first:last][COLUMNS]
    own = given_by(rows, trial.target)
    if trial.target != GATEWAY:
        own |= rows["via"] == trial.target
    rows = rows[rows["good"] & own]
    if rows.empty:
        return trial
    answer = rows.iloc[int(rows["ended_at"].to_numpy(float).argmin())]
    at = min(float(answer["ended_at"]), trial.ends_at)
    if trial.restored_at is not None and trial.restored_at <= at:
        return trial
    whose = "the probe" if str(answer["lane"]).startswith("probe") else "users"
    witness = f"an answer of {whose} ({answer['request_id']})"
    return replace(trial, restored_at=at, restored_by=trial.ready_by, witness=witness)

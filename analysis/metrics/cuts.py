"""Answers that were cut or stalled: in a trial, and in each kind of part. Each docstring is the definition. Pure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.metrics.parts import COLUMNS, Kind, Part, kinds, part_of, span
from analysis.metrics.windows import Trial
from contract.records import GATEWAY, Outcome

CUTS = (Outcome.CUT, Outcome.STALLED)


def cuts(requests: pd.DataFrame, trial: Trial, trials: list[Trial]) -> pd.DataFrame:
    """The requests through the gateway that were cut or stalled by one trial of a step.

    They ended in the trial's time (`in_trial`). If a request ended in the time of several trials, it belongs to those whose target
    gave the answer, or to each if that is none of them.
    """
    if trial.gone_from is None:
        return requests.iloc[:0]
    found = requests[(requests["via"] == GATEWAY) & requests["outcome"].isin(CUTS)]
    at = found["ended_at"].to_numpy(float)
    mine = _holds(trial, at)
    if not mine.any():
        return found.iloc[:0]
    # An answer belongs to the other trial if that trial's target gave it.
    by_another = np.zeros(len(found), dtype=bool)
    for other in trials:
        begun_at = _begun_at(other)
        if begun_at is not None and begun_at <= trial.ends_at and other.ends_at >= at[mine].min():
            by_another |= _holds(other, at) & (found["tier"] == other.target).to_numpy(bool)
    return found[mine & ((found["tier"] == trial.target).to_numpy(bool) | ~by_another)]


def in_trial(requests: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    """The requests of a trial: they ended between its inject's begin and the next fault on its target, or the run's end.

    This includes requests that were sent before the fault and cut, failed or delayed by it.
    """
    return requests[_holds(trial, requests["ended_at"].to_numpy(float))]


def _begun_at(trial: Trial) -> float | None:
    return trial.begun_at if trial.begun_at is not None else trial.gone_from


def _holds(trial: Trial, at: np.ndarray) -> np.ndarray:
    """Which of these end times are in the trial's time."""
    begun_at = _begun_at(trial)
    return np.zeros(len(at), bool) if begun_at is None else (at >= begun_at) & (at <= trial.ends_at)


def cut_rates(requests: pd.DataFrame, parts: Sequence[Part]) -> dict[Kind, tuple[int, int]]:
    """(cut or stalled, all) of the requests through the gateway, for each kind of part in the run, without abandoned ones.

    `parts.part_of` defines the part in which a request counts.
    """
    rows = requests[["via", *COLUMNS]]
    rows = rows[(rows["via"] == GATEWAY) & (rows["outcome"] != Outcome.ABANDONED)]
    part = part_of(parts, *span(rows))
    cut = np.bincount(part[rows["outcome"].isin(CUTS).to_numpy(bool)], minlength=len(parts))
    every = np.bincount(part, minlength=len(parts))
    return {
        kind: (
            sum(int(n) for n, one in zip(cut, parts, strict=True) if one.kind is kind),
            sum(int(n) for n, one in zip(every, parts, strict=True) if one.kind is kind),
        )
        for kind in kinds(parts)
    }

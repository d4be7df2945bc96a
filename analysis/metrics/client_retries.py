"""Which failed asks a client's retry would have saved. Pure.

Requests come in the order in which they were sent (see `frames`).
"""

from enum import StrEnum

import numpy as np
import pandas as pd

from analysis.metrics.cuts import CUTS
from analysis.metrics.target_loss import SILENT
from analysis.metrics.windows import Trial
from contract.records import GATEWAY, Outcome

# What OpenAI's own clients ask again after, besides 5xx and a connection that failed (openai-python, `_should_retry`).
RETRIED = (408, 409, 429)


class Fate(StrEnum):
    """What would have become of a failed request whose client asks again."""

    SAVED = "saved"
    LOST = "lost"
    UNKNOWN = "unknown"  # nobody asked when it would have been asked again, or an overloaded client may have made the failure


def fates(requests: pd.DataFrame, trial: Trial, within_s: float, ended_at: float) -> pd.DataFrame:
    """Every request through the gateway that failed by a fault, with its `fate` were its client to ask again.

    They ended after the fault was commanded, and were sent before its restore was verified; abandoned and filtered ones are
    left out. lost: tokens were out (cut, stalled), for no client takes back what it has shown; or a client does not ask
    again (a status below 500 but 408, 409 and 429); or the failure was told later than `within_s` after it was sent; or
    nobody who asked between the failure and then was answered well. saved: some ask through the gateway that was sent
    between the failure and `within_s` after it was sent was answered well, so a client that asks again and again for so long
    gets its answer. unknown: nobody asked in that time, or the run ended before it was over; and a stall or a timeout
    that an overloaded client may have made itself.
    """
    through = requests[(requests["via"] == GATEWAY) & ~requests["outcome"].isin(SILENT)]
    if trial.gone_from is None:
        return through.iloc[:0].assign(fate=[])
    failed = through[
        ~through["good"] & (through["ended_at"] >= trial.gone_from) & (through["sent_at"] < trial.gone_until)
    ]
    sent_at, good_at = (
        through["sent_at"].to_numpy(float),
        through.loc[through["good"], "sent_at"].to_numpy(float),
    )
    again_from = failed["ended_at"].to_numpy(float)
    again_until = failed["sent_at"].to_numpy(float) + within_s
    answered, asked = _some(good_at, again_from, again_until), _some(sent_at, again_from, again_until)
    status = failed["status"].to_numpy(float, na_value=np.nan)
    refused = (
        (failed["outcome"] == Outcome.REJECTED).to_numpy(bool) & (status < 500) & ~np.isin(status, RETRIED)
    )
    shown = failed["outcome"].isin(CUTS).to_numpy(bool)
    silent = failed["outcome"].isin((Outcome.STALLED, Outcome.TIMEOUT)).to_numpy(bool)
    ours = silent & failed["touched"].to_numpy(bool)
    unseen = ~asked | (again_until > ended_at)
    lost = shown | refused | (again_from > again_until)
    fate = np.where(
        lost,
        np.where(ours, Fate.UNKNOWN, Fate.LOST),
        np.where(answered, Fate.SAVED, np.where(unseen | ours, Fate.UNKNOWN, Fate.LOST)),
    )
    return failed.assign(fate=fate)


def in_flight(requests: pd.DataFrame, at: float) -> int:
    """How many requests through the gateway were under way at this instant, whatever became of them."""
    return int(
        ((requests["via"] == GATEWAY) & (requests["sent_at"] < at) & (requests["ended_at"] >= at)).sum()
    )


def _some(at: np.ndarray, since: np.ndarray, until: np.ndarray) -> np.ndarray:
    """Whether any of these instants, in ascending order, lies between each two."""
    return np.searchsorted(at, until, "right") > np.searchsorted(at, since)

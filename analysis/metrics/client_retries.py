"""Which failed requests a client's retry would have saved. Pure.

Requests are sorted by the time they were sent (see `frames`).
"""

from enum import StrEnum

import numpy as np
import pandas as pd

from analysis.metrics.cuts import CUTS
from analysis.metrics.target_loss import SILENT
from analysis.metrics.windows import Trial
from contract.records import GATEWAY, Outcome

# The statuses that OpenAI's clients retry, besides 5xx and failed connections (openai-python, `_should_retry`).
RETRIED = (408, 409, 429)


class Fate(StrEnum):
    """The fate of a failed request if its client retries."""

    SAVED = "saved"
    LOST = "lost"
    UNKNOWN = "unknown"  # no request was sent when the client would have retried, or an overloaded client may have caused the failure


def fates(requests: pd.DataFrame, trial: Trial, within_s: float, ended_at: float) -> pd.DataFrame:
    """Every request through the gateway that failed by a fault, with its `fate` if its client retried.

    They ended after the fault was commanded, and were sent before its restore was verified; abandoned and filtered ones are
    left out. The retry window is from the failure to `within_s` after the request was sent.

    lost: tokens were out (cut, stalled), since a client cannot take back what it has shown; or a client does not retry it (a
    status below 500 except 408, 409 and 429); or the failure came later than `within_s`; or no request sent in the window got a
    good answer. saved: a request through the gateway sent in the window got a good answer, so a client that keeps retrying gets
    its answer. unknown: no request was sent in the window, or the run ended before the window did; or it is a stall or a timeout
    that an overloaded client may have caused itself.
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
    answered, sent = _some(good_at, again_from, again_until), _some(sent_at, again_from, again_until)
    status = failed["status"].to_numpy(float, na_value=np.nan)
    refused = (
        (failed["outcome"] == Outcome.REJECTED).to_numpy(bool) & (status < 500) & ~np.isin(status, RETRIED)
    )
    shown = failed["outcome"].isin(CUTS).to_numpy(bool)
    waited = failed["outcome"].isin((Outcome.STALLED, Outcome.TIMEOUT)).to_numpy(bool)
    ours = waited & failed["touched"].to_numpy(bool)
    unseen = ~sent | (again_until > ended_at)
    lost = shown | refused | (again_from > again_until)
    fate = np.where(
        lost,
        np.where(ours, Fate.UNKNOWN, Fate.LOST),
        np.where(answered, Fate.SAVED, np.where(unseen | ours, Fate.UNKNOWN, Fate.LOST)),
    )
    return failed.assign(fate=fate)


def in_flight(requests: pd.DataFrame, at: float) -> int:
    """How many requests through the gateway were under way at this instant, whatever their outcome."""
    return int(
        ((requests["via"] == GATEWAY) & (requests["sent_at"] < at) & (requests["ended_at"] >= at)).sum()
    )


def _some(at: np.ndarray, since: np.ndarray, until: np.ndarray) -> np.ndarray:
    """For each `since` and `until`: whether any of these instants (ascending) lies between them."""
    return np.searchsorted(at, until, "right") > np.searchsorted(at, since)

"""When a target was lost: the first evidence in the records that a tier, or the gateway, no longer serves. Pure.

Requests are sorted by the time they were sent (see `frames`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics.cuts import CUTS
from analysis.metrics.windows import Trial, top_at
from contract.ranks import Ranks, peers_of
from contract.records import GATEWAY, Outcome

# Outcomes without evidence on the tier: the client did not wait for the end, or the content was refused.
SILENT = (Outcome.ABANDONED, Outcome.FILTERED)


@dataclass(frozen=True, slots=True)
class Lost:
    """The first evidence that a tier no longer serves."""

    at: float
    evidence: str


def lost(
    requests: pd.DataFrame, health: pd.DataFrame, trial: Trial, trials: list[Trial], ranks: Ranks
) -> Lost | None:
    """The first evidence after *commanded* that the tier no longer serves; None if there is none.

    For a tier, evidence before the restore is commanded is:
    - A request sent directly to the tier after commanded that failed. It counts from when it was sent: its user waited from then.
    - A request sent through the gateway while the tier was an expected top (a fault held every tier above it) that failed or was
      answered by a tier of another rank. It counts from when it was sent. An answer by a peer is not evidence, since the gateway
      balances between peers; and if a fault holds a peer too, it is unknown which of them made the request fail.
    - An answer by the tier that was cut. It counts from when it stopped, since until then the tier served (from commanded, if the
      client was overloaded and may have seen it late). It does not count if the tier gave a good answer to a later request: a
      model may end early on its own.
    - A health check that failed.

    The loss may precede *effective*: users notice long before the last Pod is gone. Abandoned and filtered requests are not
    evidence.

    For the gateway: a request through it that failed, whichever tier should have answered; an answer that was cut before the first
    of those, unless a later request got a good answer before then (then a tier's answer was cut); a health check that failed.
    """
    if trial.commanded_at is None:
        return None
    until = next(
        (a for a in (trial.restore_commanded_at, trial.restore_begun_at) if a is not None), trial.gone_until
    )
    sent = requests["sent_at"]
    first, last = np.searchsorted(sent.to_numpy(float), [trial.commanded_at, until])
    window = requests.iloc[first:last]
    window = window[~window["outcome"].isin(SILENT)]
    others = [t for t in trials if t is not trial and t.target != trial.target]
    failed = _first_failed(window, trial.target, ranks, others)
    if trial.target == GATEWAY and failed is not None:
        # It may return by itself long before the restore: later answers are not evidence on an earlier cut.
        until = failed.at
        window = window[window["sent_at"] < until]
    found = [
        failed,
        _first_cut(requests, window, trial.target, trial.commanded_at, until),
        _first_failed_check(health, trial.target, trial.commanded_at, until),
    ]
    return min((f for f in found if f is not None), key=lambda f: f.at, default=None)


def _first_failed(window: pd.DataFrame, target: str, ranks: Ranks, others: list[Trial]) -> Lost | None:
    whole = window[~window["outcome"].isin(CUTS)]
    direct = (whole["via"] == target) & ~whole["good"]  # for the gateway: requests through it
    peers = peers_of(ranks, target)
    through = (whole["via"] == GATEWAY) & (~whole["good"] | ~whole["tier"].isin(peers))
    rows = whole[direct if target == GATEWAY else direct | through]
    columns = ["request_id", "sent_at", "via", "good", "tier", "outcome"]
    sent_at = rows["sent_at"].to_numpy(float)
    shows = top_at(sent_at, target, ranks, others)
    for t in others:
        if t.target in peers and t.gone_from is not None:
            shows &= (sent_at < t.gone_from) | (sent_at >= t.gone_until)
    shows |= (rows["via"] == target).to_numpy(bool)
    if not shows.any():
        return None
    name, at, via, good, tier, outcome = rows[columns].iloc[int(shows.argmax())]
    if via == target:
        return Lost(float(at), f"{name} {'through' if target == GATEWAY else 'directly to'} it was {outcome}")
    return Lost(float(at), f"{name} through the gateway was {f'answered by {tier}' if good else outcome}")


def _first_cut(
    requests: pd.DataFrame, window: pd.DataFrame, target: str, commanded_at: float, until: float
) -> Lost | None:
    good = window[window["good"] & given_by(window, target)]
    last_good_at = float(good["sent_at"].max()) if len(good) else commanded_at
    cut = requests[
        requests["outcome"].isin(CUTS)
        & given_by(requests, target)
        & (requests["ended_at"] >= max(commanded_at, last_good_at))
        & (requests["ended_at"] < until)
    ]
    if cut.empty:
        return None
    at = cut["ended_at"].where(~cut["touched"], commanded_at)
    record = cut.iloc[int(at.argmin())]
    how = "sent" if target == GATEWAY else "answered"
    return Lost(float(at.min()), f"{record['request_id']}, {how} by it, was {record['outcome']}")


def given_by(requests: pd.DataFrame, target: str) -> pd.Series:
    """Mask: the answers that this target gave: a tier its own, the gateway all that came through it."""
    return requests["via" if target == GATEWAY else "tier"] == target


def given_beside(requests: pd.DataFrame, target: str, ranks: Ranks) -> pd.Series:
    """Mask: the answers that the target or a peer gave; the gateway balances between peers."""
    return given_by(requests, target) if target == GATEWAY else requests["tier"].isin(peers_of(ranks, target))


def _first_failed_check(health: pd.DataFrame, target: str, commanded_at: float, until: float) -> Lost | None:
    down = health[
        (health["tier"] == target)
        & (health["at"] >= commanded_at)
        & (health["at"] < until)
        & health["up"].eq(False).fillna(False)
    ]
    return Lost(float(down["at"].iloc[0]), "its health check failed") if len(down) else None

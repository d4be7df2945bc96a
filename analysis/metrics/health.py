"""Filters the health checks of a run: a check that failed while the tier answered is not evidence. Pure."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from contract import health as contract
from contract.records import GATEWAY

CONTRADICTED_WITHIN_S = 5.0
"""Failed checks are discarded from this long before the first good answer within their row of failures to this long after the last."""


def believed(health: pd.DataFrame, requests: pd.DataFrame) -> pd.DataFrame:
    """The health rows in order of time, with `up` set to unknown if there is doubt, and the column `doubt` with the reason.

    A status that is neither 2xx nor 5xx is no evidence of the engine's health, whatever was recorded (see `contract.health.up`):
    `up` is unknown, `doubt` is "status".

    A row of failed checks, without a success in between, is contradicted by a good answer of that tier (direct or through the
    gateway; for the gateway, any good answer through it) that was sent after the first failed check and whose first token came
    before the last. From 5 s before the first such answer was sent to 5 s after the last one's first token, `up` is unknown and
    `doubt` is "answered"; so it is in the whole row if no check succeeded before it. Failures earlier in that row remain: the
    tier was away, and its health url returned later than the tier. Failures later in that row remain too: the tier drained, and
    its health url reported that before it stopped.

    Requests are sorted by the time they were sent.
    """
    rows = health.sort_values("at", kind="stable", ignore_index=True)
    up = rows["up"].to_numpy(float, na_value=np.nan)
    status = rows["status"].to_numpy(float, na_value=np.nan)
    doubt = np.full(len(rows), None, dtype=object)
    uninformative = [code for code in rows["status"].dropna().unique() if contract.up(int(code)) is None]
    no_evidence = np.isin(status, uninformative)
    doubt[no_evidence] = "status"
    up[no_evidence] = np.nan
    for name in rows["tier"].unique():
        mine = np.flatnonzero((rows["tier"] == name).to_numpy())
        sent_at, first_at = _answers(name, requests)
        at = rows["at"].to_numpy(float)[mine]
        for first, last, rose_before in _failures(up[mine]):
            answered = _contradicted(sent_at, first_at, at[first], at[last])
            if answered is None:
                continue
            around_s = CONTRADICTED_WITHIN_S if rose_before else np.inf
            from_at, until = answered[0] - around_s, answered[1] + around_s
            row = mine[first : last + 1]
            row = row[(at[first : last + 1] >= from_at) & (at[first : last + 1] <= until)]
            failed = row[up[row] == 0.0]
            up[failed], doubt[failed] = np.nan, "answered"
    known = pd.array(np.nan_to_num(up) == 1.0, dtype="boolean")
    known[np.isnan(up)] = pd.NA
    return rows.assign(up=known, doubt=doubt)


def doubts(rows: pd.DataFrame) -> list[str]:
    """The discarded health checks, a sentence for each tier and reason."""
    found = []
    for (tier, doubt), some in rows[rows["doubt"].notna()].groupby(["tier", "doubt"], sort=False):
        of = int((rows["tier"] == tier).sum())
        statuses = ", ".join(str(int(s)) for s in sorted(some["status"].dropna().unique())) or "no response"
        if doubt == "status":
            found.append(
                f"{tier}: {len(some)} of {of} health checks are no evidence of its health (status {statuses}): its health is unknown then"
            )
        else:
            found.append(
                f"{tier}: {len(some)} of {of} health checks failed ({statuses}) while it gave good answers: they are ignored"
            )
    return found


def _answers(name: str, requests: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Its good answers: when they were sent, in order, and when the first token (or else the end) came."""
    by = "via" if name == GATEWAY else "tier"
    good = requests.loc[requests["good"] & (requests[by] == name), ["sent_at", "first_at", "ended_at"]]
    first_at = good["first_at"].fillna(good["ended_at"])
    return good["sent_at"].to_numpy(float), first_at.to_numpy(float)


def _failures(up: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Each row of failed checks without a success in between: its first, its last, and whether one succeeded before it."""
    parts = np.split(np.arange(len(up)), np.flatnonzero(up == 1.0))
    for i, part in enumerate(parts):
        failed = part[up[part] == 0.0]
        if len(failed):
            yield int(failed[0]), int(failed[-1]), i > 0


def _contradicted(
    sent_at: np.ndarray, first_at: np.ndarray, begins_at: float, ends_at: float
) -> tuple[float, float] | None:
    """When the first answer that contradicts this row was sent, and when the last first token of such answers came."""
    first, last = np.searchsorted(sent_at, [begins_at, ends_at])
    within = np.flatnonzero(first_at[first:last] <= ends_at)
    return (float(sent_at[first + within[0]]), float(first_at[first + within].max())) if len(within) else None

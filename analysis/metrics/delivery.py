"""What load was wanted, and what was delivered: requests intended, sent, refused by the cap, late; and by how many. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics.latency import latency_ms
from analysis.metrics.quantiles import quantiles
from analysis.metrics.shares import users_requests

HIDES_RATIO, HIDES_MS = 1.5, 100.0  # so far apart, the two latencies tell different stories


@dataclass(frozen=True, slots=True)
class Delivery:
    """Of the load generators' requests in all lanes, warm-up left out. None: nobody told."""

    scheduled: int
    sent: int
    dropped: int
    late_p99_ms: float | None
    in_flight_max: int
    users_max: int | None
    seconds: int  # rows of client.arrow, of all load generators
    overloaded: int  # of these


def delivery(requests: pd.DataFrame, client: pd.DataFrame, overloaded: pd.DataFrame) -> Delivery:
    """How much load was wanted, and what became of it.

    wanted: requests made and arrivals that the cap refused, or what the load generators counted as due, if that is more. sent: those of
    them that left. late: p99 of sent − intended. in flight: the most of [sent, ended] at one instant. users: the most in
    one second, over all load generators.
    """
    made = requests.loc[requests["file"] == "requests", ["scheduled_at", "sent_at", "ended_at"]]
    sent = made if made["sent_at"].notna().all() else made[made["sent_at"].notna()]
    dropped = int(client["dropped"].sum())
    late_ms = quantiles((sent["sent_at"] - sent["scheduled_at"]) * 1000)["p99"]
    users = (
        client.groupby([np.floor(client["at"]), client["worker"].fillna("")])["users"]
        .max()
        .groupby(level=0)
        .sum()
    )
    return Delivery(
        scheduled=max(len(made) + dropped, int(client["scheduled"].sum())),
        sent=len(sent),
        dropped=dropped,
        late_p99_ms=late_ms,
        in_flight_max=_most_at_once(sent),
        users_max=int(users.max()) if len(users) else None,
        seconds=len(client),
        overloaded=len(overloaded),
    )


def _most_at_once(sent: pd.DataFrame) -> int:
    """In flight just after each sending."""
    start = np.sort(sent["sent_at"].to_numpy(float))
    ended = np.sort(sent["ended_at"].fillna(np.inf).to_numpy(float))
    there = np.arange(1, len(start) + 1) - np.searchsorted(ended, start, "right")
    return int(there.max()) if len(there) else 0


def hidden(requests: pd.DataFrame) -> tuple[float, float, bool] | None:
    """The p99 of the users' good answers, from sent and from intended, in ms, and whether the first hides a hang.

    It does where the second is longer by more than half and by more than 100 ms: requests waited to be sent, because those
    before them hung. A closed loop intends each request when it sends it: then the two are equal, and a hang hides in both.
    None where users had no good answer.
    """
    users = users_requests(requests[["lane", "via", "good", "latency_ms", "scheduled_at", "ended_at"]])
    sent, intended = (quantiles(latency_ms(users, of=of))["p99"] for of in ("sent", "scheduled"))
    if sent is None or intended is None:
        return None
    return sent, intended, intended > sent * HIDES_RATIO and intended - sent > HIDES_MS

"""The scheduled load and the delivered load: requests scheduled, sent, dropped and late. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics.latency import latency_ms
from analysis.metrics.quantiles import quantiles
from analysis.metrics.shares import users_requests

HIDES_RATIO, HIDES_MS = 1.5, 100.0  # from here on the difference of the two latencies is significant


@dataclass(frozen=True, slots=True)
class Delivery:
    """Of the load generators' requests in all lanes without warm-up. None: not recorded."""

    scheduled: int
    sent: int
    dropped: int
    late_p99_ms: float | None
    in_flight_max: int
    users_max: int | None
    seconds: int  # rows of client.arrow, of all load generators
    overloaded: int  # of these


def delivery(requests: pd.DataFrame, client: pd.DataFrame, overloaded: pd.DataFrame) -> Delivery:
    """How much load was scheduled, and how much of it was sent.

    scheduled: recorded requests plus dropped arrivals, or the load generators' own count of due requests, if that is larger.
    sent: those that were sent. dropped: arrivals over the limit of requests in flight. late: p99 of sent − scheduled. in flight:
    the maximum number of overlapping [sent, ended]. users: the maximum in one second, over all load generators.
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
    """The maximum of the requests in flight just after each sending."""
    start = np.sort(sent["sent_at"].to_numpy(float))
    ended = np.sort(sent["ended_at"].fillna(np.inf).to_numpy(float))
    there = np.arange(1, len(start) + 1) - np.searchsorted(ended, start, "right")
    return int(there.max()) if len(there) else 0


def hidden(requests: pd.DataFrame) -> tuple[float, float, bool] | None:
    """The p99 of the users' good answers, from sent and from scheduled, in ms, and whether the first hides a hang.

    It does if the second is longer by more than half and by more than 100 ms: requests waited to be sent, because those
    before them hung. A closed loop schedules each request when it sends it: then the two are equal, and both hide a hang.
    None if users had no good answer.
    """
    users = users_requests(requests[["lane", "via", "good", "latency_ms", "scheduled_at", "ended_at"]])
    sent, scheduled = (quantiles(latency_ms(users, of=of))["p99"] for of in ("sent", "scheduled"))
    if sent is None or scheduled is None:
        return None
    return sent, scheduled, scheduled > sent * HIDES_RATIO and scheduled - sent > HIDES_MS

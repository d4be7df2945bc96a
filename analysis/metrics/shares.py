"""The share of users' requests with a good answer, and with one in time. Each docstring is the definition. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics.cuts import CUTS
from analysis.metrics.latency import until_first_ms
from contract import records
from contract.records import Lane, Outcome

PROBES = (Lane.PROBE_NEW, Lane.PROBE_KEPT)


def users_requests(requests: pd.DataFrame) -> pd.DataFrame:
    """The users' requests: lane load, through the gateway."""
    users = of_users(requests)
    return requests if users.all() else requests[users]


def of_users(requests: pd.DataFrame) -> np.ndarray:
    """Mask: the users' requests."""
    return records.of_users(requests["lane"], requests["via"]).to_numpy(bool)


@dataclass(frozen=True, slots=True)
class Share:
    """Hits of a total. `doubtful`: misses that an overloaded load generator may have caused itself."""

    hits: int
    total: int
    doubtful: int = 0

    @property
    def ratio(self) -> float | None:
        return self.hits / self.total if self.total else None

    @property
    def at_most(self) -> float | None:
        """The ratio if the load generator caused every doubtful miss."""
        return (self.hits + self.doubtful) / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Continuity:
    """The parts of `continuity`."""

    good: Share
    cut: int
    stalled: int
    abandoned: int


def continuity(requests: pd.DataFrame) -> Continuity:
    """Good ÷ total, over the users' requests through the gateway.

    The total excludes abandoned requests (the client stopped waiting), and cut and stalled ones (no fallback restores a stream
    whose first token is out); they are counted separately and shown. Timeouts in seconds with an overloaded client are doubtful:
    it may not have read the answer in time. Every other failure counts, whatever the client's load.
    """
    users = users_requests(requests[["lane", "via", "outcome", "good", "touched"]])
    count = {o: int((users["outcome"] == o).sum()) for o in (*CUTS, Outcome.ABANDONED)}
    doubtful = int(((users["outcome"] == Outcome.TIMEOUT) & users["touched"]).sum())
    total = len(users) - sum(count.values())
    return Continuity(Share(int(users["good"].sum()), total, doubtful), *count.values())


def within(requests: pd.DataFrame, ttft_max_ms: float | None) -> pd.Series:
    """Good, and within the objective for TTFT if there is one (for a plain answer: its whole body; for one that shows no
    token: its end).

    In an unattended scenario an answer only has to be good: no person waits for its first token.
    """
    if ttft_max_ms is None:
        return requests["good"]
    hit = requests["good"] & (until_first_ms(requests) <= ttft_max_ms)
    if "unattended" not in requests.columns:  # see `for_within`
        return hit
    return hit | (requests["good"] & requests["unattended"])


def for_within(requests: pd.DataFrame, columns: list[str]) -> list[str]:
    """These columns, and `unattended` if the run has such requests."""
    return [*columns, "unattended"] if "unattended" in requests.columns else columns


def goodput(requests: pd.DataFrame, ttft_max_ms: float | None) -> Share:
    """The users' requests with good answers within the objectives ÷ all of their requests; failures and cuts are misses.

    Classified documents have no objective for TTFT: they only need a good answer. Abandoned requests are left out. Misses by
    slowness, timeouts and stalls in seconds with an overloaded client are doubtful.
    """
    columns = ["lane", "via", "outcome", "good", "ttft_ms", "latency_ms", "touched"]
    users = users_requests(requests[for_within(requests, columns)])
    total = users["outcome"] != Outcome.ABANDONED
    hit = within(users, ttft_max_ms)
    late = users["good"] | users["outcome"].isin((Outcome.TIMEOUT, Outcome.STALLED))
    return Share(
        int((hit & total).sum()), int(total.sum()), int((total & ~hit & late & users["touched"]).sum())
    )

"""Which share of users' requests was answered, and answered in time. Each docstring is the definition. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics.cuts import CUTS
from analysis.metrics.latency import until_first_ms
from contract import records
from contract.records import Lane, Outcome

PROBES = (Lane.PROBE_NEW, Lane.PROBE_KEPT)


def users_requests(requests: pd.DataFrame) -> pd.DataFrame:
    """What stands for users: lane load, through the gateway."""
    users = of_users(requests)
    return requests if users.all() else requests[users]


def of_users(requests: pd.DataFrame) -> np.ndarray:
    """Which asks stand for users."""
    return records.of_users(requests["lane"], requests["via"]).to_numpy(bool)


@dataclass(frozen=True, slots=True)
class Share:
    """Hits of asked. `doubtful`: misses that an overloaded load generator may have made, and nobody else."""

    hits: int
    total: int
    doubtful: int = 0

    @property
    def ratio(self) -> float | None:
        return self.hits / self.total if self.total else None

    @property
    def at_most(self) -> float | None:
        """The ratio if every doubtful miss was the load generator's own."""
        return (self.hits + self.doubtful) / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Continuity:
    """The parts of `continuity`."""

    good: Share
    cut: int
    stalled: int
    abandoned: int


def continuity(requests: pd.DataFrame) -> Continuity:
    """Good ÷ asked, over the users' requests through the gateway.

    Abandoned ones (we stopped waiting), and cut and stalled ones (no fallback restores a stream whose first token is out)
    are not among the asked; they are counted apart and shown. Timeouts in seconds in which the client was overloaded are
    doubtful: it may not have looked in time. Every other failure is one, whatever the client was doing.
    """
    users = users_requests(requests[["lane", "via", "outcome", "good", "touched"]])
    count = {o: int((users["outcome"] == o).sum()) for o in (*CUTS, Outcome.ABANDONED)}
    doubtful = int(((users["outcome"] == Outcome.TIMEOUT) & users["touched"]).sum())
    total = len(users) - sum(count.values())
    return Continuity(Share(int(users["good"].sum()), total, doubtful), *count.values())


def within(requests: pd.DataFrame, ttft_max_ms: float | None) -> pd.Series:
    """Good, and within the objective for TTFT where there is one (of a plain answer: its whole body; of one that shows no
    token: its end).

    Of a scenario that is unattended an answer has only to be good: no person waits for its first token.
    """
    if ttft_max_ms is None:
        return requests["good"]
    hit = requests["good"] & (until_first_ms(requests) <= ttft_max_ms)
    if "unattended" not in requests.columns:  # see `for_within`
        return hit
    return hit | (requests["good"] & requests["unattended"])


def for_within(requests: pd.DataFrame, columns: list[str]) -> list[str]:
    """These columns, and `unattended` where the run has such requests."""
    return [*columns, "unattended"] if "unattended" in requests.columns else columns


def goodput(requests: pd.DataFrame, ttft_max_ms: float | None) -> Share:
    """The users' requests that were good and within the objectives, of all that they asked; failures and cuts are misses.

    Documents that are classified have no objective for TTFT: they only have to be answered well.
    Abandoned ones are left out. Misses by slowness, timeouts and stalls in seconds in which the client was overloaded
    are doubtful.
    """
    columns = ["lane", "via", "outcome", "good", "ttft_ms", "latency_ms", "touched"]
    users = users_requests(requests[for_within(requests, columns)])
    total = users["outcome"] != Outcome.ABANDONED
    hit = within(users, ttft_max_ms)
    late = users["good"] | users["outcome"].isin((Outcome.TIMEOUT, Outcome.STALLED))
    return Share(
        int((hit & total).sum()), int(total.sum()), int((total & ~hit & late & users["touched"]).sum())
    )

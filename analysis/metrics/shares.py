"""Which share of users' requests was answered, and answered in time. Each docstring is the definition. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics.cuts import CUTS
from analysis.metrics.latency import until_first_ms
from contract import records
from contract.records import Lane, Outcome

PROBES = (Lane.PROBE_NEW, Lane.PROBE_KEPT)


def users_asks(asks: pd.DataFrame) -> pd.DataFrame:
    """What stands for users: lane load, through the gateway."""
    users = of_users(asks)
    return asks if users.all() else asks[users]


def of_users(asks: pd.DataFrame) -> np.ndarray:
    """Which asks stand for users."""
    return records.of_users(asks["lane"], asks["via"]).to_numpy(bool)


@dataclass(frozen=True, slots=True)
class Share:
    """Hits of asked. `doubtful`: misses that an overloaded load generator may have made, and nobody else."""

    hits: int
    asked: int
    doubtful: int = 0

    @property
    def ratio(self) -> float | None:
        return self.hits / self.asked if self.asked else None

    @property
    def at_most(self) -> float | None:
        """The ratio if every doubtful miss was the load generator's own."""
        return (self.hits + self.doubtful) / self.asked if self.asked else None


@dataclass(frozen=True, slots=True)
class Continuity:
    """The parts of `continuity`."""

    good: Share
    cut: int
    stalled: int
    abandoned: int


def continuity(asks: pd.DataFrame) -> Continuity:
    """Good ÷ asked, over the users' asks through the gateway.

    Abandoned ones (we stopped waiting), and cut and stalled ones (no fallback restores a stream whose first token is out)
    are not among the asked; they are counted apart and shown. Timeouts in seconds in which the client was overloaded are
    doubtful: it may not have looked in time. Every other failure is one, whatever the client was doing.
    """
    users = users_asks(asks[["lane", "via", "outcome", "good", "touched"]])
    count = {o: int((users["outcome"] == o).sum()) for o in (*CUTS, Outcome.ABANDONED)}
    doubtful = int(((users["outcome"] == Outcome.TIMEOUT) & users["touched"]).sum())
    asked = len(users) - sum(count.values())
    return Continuity(Share(int(users["good"].sum()), asked, doubtful), *count.values())


def within(asks: pd.DataFrame, ttft_max_ms: float | None) -> pd.Series:
    """Good, and within the objective for TTFT where there is one (of a plain answer: its whole body; of one that shows no
    token: its end).

    Of a scenario that is unattended an answer has only to be good: no person waits for its first token.
    """
    if ttft_max_ms is None:
        return asks["good"]
    hit = asks["good"] & (until_first_ms(asks) <= ttft_max_ms)
    if "unattended" not in asks.columns:  # see `for_within`
        return hit
    return hit | (asks["good"] & asks["unattended"])


def for_within(asks: pd.DataFrame, columns: list[str]) -> list[str]:
    """These columns, and `unattended` where the run has such asks."""
    return [*columns, "unattended"] if "unattended" in asks.columns else columns


def goodput(asks: pd.DataFrame, ttft_max_ms: float | None) -> Share:
    """The users' asks that were good and within the objectives, of all that they asked; failures and cuts are misses.

    Documents that are classified have no objective for TTFT: they only have to be answered well.
    Abandoned ones are left out. Misses by slowness, timeouts and stalls in seconds in which the client was overloaded
    are doubtful.
    """
    columns = ["lane", "via", "outcome", "good", "ttft_ms", "latency_ms", "touched"]
    users = users_asks(asks[for_within(asks, columns)])
    asked = users["outcome"] != Outcome.ABANDONED
    hit = within(users, ttft_max_ms)
    late = users["good"] | users["outcome"].isin((Outcome.TIMEOUT, Outcome.STALLED))
    return Share(
        int((hit & asked).sum()), int(asked.sum()), int((asked & ~hit & late & users["touched"]).sum())
    )

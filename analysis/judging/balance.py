"""How a gateway balances its answers over the deployments of a group: their shares by phase. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from analysis.evidence import Evidence
from analysis.metrics.trials import wilson
from analysis.metrics.windows import Trial

CALM = "calm"


@dataclass(frozen=True, slots=True)
class DeploymentShare:
    """One deployment's share of a phase's answers. The intervals of a group hold together with 95 %."""

    tier: str
    answers: int
    expected: float  # 0 while a fault holds it
    share: float | None = None  # None: no answer
    low: float = 0.0
    high: float = 1.0

    @property
    def off(self) -> float | None:
        """The distance from the expected share."""
        return None if self.share is None else abs(self.share - self.expected)


@dataclass(frozen=True, slots=True)
class Spread:
    """One phase: `calm`, `before any fault`, or a step's `in effect` and `returned`."""

    phase: str
    n: int
    shares: tuple[DeploymentShare, ...]
    jain: float | None  # None: no answer
    held: str | None = None  # the deployment that a fault holds


def groups(run: Evidence) -> list[list[str]]:
    """The ranks in which the gateway balances."""
    return [list(rank) for rank in run.frames.ranks if len(rank) > 1]


def spreads(run: Evidence, rank: list[str], expected: Mapping[str, float] | None = None) -> list[Spread]:
    """The share of each deployment of a group in the group's good answers through the gateway, for each phase; all lanes.

    calm: no deployment of the group was held by a fault or still to return. It is also listed in parts: before any fault,
    and after each step's returns. A deployment has returned with its first good answer to a request sent after its restore was
    verified; the time until then is the recovery. in effect: sent from effective on and answered before the restore is
    commanded (a request that waits longer may be answered by the returned deployment), while no other deployment was away. The
    expected share of the held deployment is then 0; the others keep their proportions.

    expected: by default the same for each. The intervals hold for all deployments of a phase together with 95 % (Wilson's score
    intervals at Bonferroni's level) if each request is routed independently of the one before, as a shuffle does; a router that
    takes turns or considers the load varies less. All trials of a step are combined.
    """
    weights = dict.fromkeys(rank, 1.0) if expected is None else dict(expected)
    f = run.frames
    requests = f.requests.loc[
        f.through_gateway & f.requests["good"] & f.requests["tier"].isin(rank),
        ["sent_at", "first_at", "tier"],
    ]
    at, first_at = requests["sent_at"].to_numpy(float), requests["first_at"].to_numpy(float)
    tier = requests["tier"].astype(str).to_numpy()
    mine = [t for t in run.trials if t.target in rank and t.gone_from is not None]
    until = {id(t): _back_at(t, at[tier == t.target]) for t in mine}
    away = {id(t): (at >= (t.gone_from or 0.0)) & (at <= until[id(t)]) for t in mine}
    any_away = np.logical_or.reduce([*away.values(), np.zeros(len(at), dtype=bool)])
    first = min((t.gone_from or 0.0 for t in mine), default=np.inf)

    def spread(phase: str, which: np.ndarray, held: str | None = None) -> Spread:
        return _spread(phase, {t: int((which & (tier == t)).sum()) for t in rank}, weights, held)

    found = [spread(CALM, ~any_away)]
    if mine:
        found.append(spread("before any fault", at < first))
    for step in dict.fromkeys(t.step for t in mine):
        trials = [t for t in mine if t.step == step]
        gone = np.zeros(len(at), dtype=bool)
        returned = gone.copy()
        for t in trials:
            others = np.logical_or.reduce([a for k, a in away.items() if k != id(t)] or [gone & False])
            restore_at = t.restore_commanded_at if t.restore_commanded_at is not None else t.gone_until
            if t.effective_at is not None:
                gone |= (at >= t.effective_at) & (first_at < restore_at) & ~others
            returned |= (at > until[id(t)]) & (at < t.ends_at) & ~any_away
        found.append(spread(f"{step}: in effect", gone, trials[0].target))
        found.append(spread(f"{step}: returned", returned))
    return found


def jain(values: list[float]) -> float | None:
    """Jain's fairness index (Jain, Chiu and Hawe 1984): 1 if all values are equal, 1/n if one has everything.

    The values are the deployments' answers, each divided by its expected share, without those that a fault holds.
    """
    squares = sum(v * v for v in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else None


def _spread(phase: str, answers: Mapping[str, int], weights: Mapping[str, float], held: str | None) -> Spread:
    n = sum(answers.values())
    expected = {t: 0.0 if t == held else w for t, w in weights.items()}
    whole = sum(expected.values())
    z = NormalDist().inv_cdf(1 - 0.05 / 2 / len(answers))
    shares = []
    for tier, count in answers.items():
        low, high = wilson(count / n, n, z)[1:] if n else (0.0, 1.0)
        shares.append(
            DeploymentShare(tier, count, expected[tier] / whole, count / n if n else None, low, high)
        )
    fair = jain([s.answers / s.expected for s in shares if s.expected])
    return Spread(phase, n, tuple(shares), fair, held)


def _back_at(trial: Trial, own: np.ndarray) -> float:
    """When the first request was sent that it answered after its verified restore; else the end of the trial."""
    if trial.restored_at is None:
        return trial.ends_at
    after = own[np.searchsorted(own, trial.restored_at, "right") :]
    return min(float(after[0]), trial.ends_at) if len(after) else trial.ends_at


def rank_of_group(run: Evidence, group: str) -> list[str]:
    """The deployments of a group that the gateway balances between, those of the lowest order; empty if there is only one."""
    return run.frames.topology.balanced.get(group, [])


def share_text(share: DeploymentShare) -> str:
    """`33.1 % (28–39 %)`; for one that a fault holds `0 %, held`."""
    if share.share is None:
        return "unknown"
    text = f"{share.share:.1%} ({share.low:.0%}–{share.high:.0%})".replace("%", " %").replace(" %–", "–")
    return f"{text}, held" if not share.expected else text


def section(run: Evidence) -> list[str]:
    """The section of summary.md; empty if the gateway balances between no tiers."""
    lines: list[str] = []
    for rank in groups(run):
        lines += ["", f"| share of good answers | n | {' | '.join(rank)} |", "| --- " * (2 + len(rank)) + "|"]
        for s in spreads(run, rank):
            lines.append(f"| {s.phase} | {s.n} | {' | '.join(share_text(x) for x in s.shares)} |")
    return lines

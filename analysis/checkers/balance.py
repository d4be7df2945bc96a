"""The gateway balances its answers over the deployments of a group as configured."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging import balance
from analysis.judging.balance import CALM, DeploymentShare, Spread
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, Status, unknown, worst
from contract.refusal import no_such
from contract.topology import Topology

Weight = Annotated[float, Field(gt=0, le=1)]


class Params(Common):
    """`balance: {group: vllm-qwen, max_deviation: 0.1}`; `shares: {vllm-a: 0.5, …}` for uneven ones"""

    group: str
    max_deviation: float = Field(gt=0, lt=1, strict=True)
    shares: dict[str, Weight] | None = None

    def problems(self, topology: Topology) -> Iterator[str]:
        ranks = topology.balanced
        if self.group not in ranks:
            yield f"group: {no_such('group of several deployments', self.group, ranks)}"
        elif self.shares is not None and set(self.shares) != set(ranks[self.group]):
            yield f"shares: give one for each deployment of the group: {', '.join(ranks[self.group])}"
        elif self.shares is not None and abs(sum(self.shares.values()) - 1) > 0.001:
            yield f"shares: the sum is {sum(self.shares.values()):g}; it must be 1"


def check(params: Params, run: Evidence) -> Finding:
    """In calm phases each deployment's share of the group's good answers through the gateway is within `max_deviation` of
    its expected share (an even one, or `shares`). While a step holds a deployment, its share is within `max_deviation` of 0,
    and the others' of their expected shares among themselves. Shares, phases and intervals: `balance.spreads`.

    Judged by the share's interval: pass if it is entirely within the limit, fail if entirely beyond, else unknown: too few
    answers. Jain's fairness index is shown too.
    """
    target = f"each share of {params.group} within {params.max_deviation:g} of " + (
        "an even one" if params.shares is None else "its expected share"
    )
    rank = balance.rank_of_group(run, params.group)
    if len(rank) < 2:
        return unknown(
            "balance", params.id, target, f"the topology has no group {params.group} of several deployments"
        )
    found = [s for s in balance.spreads(run, rank, params.shares) if s.phase == CALM or s.held is not None]
    statuses = [_judged(share, params.max_deviation) for s in found for share in s.shares]
    off = [share.off for s in found for share in s.shares if share.off is not None]
    return Finding(
        "balance", params.id, target, "; ".join(_measured(s) for s in found), worst(statuses),
        evidence="; ".join(f"{s.phase}: {', '.join(f'{x.tier} {balance.share_text(x)}' for x in s.shares)}" for s in found),
        value=max(off, default=None), unit="share", n=sum(s.n for s in found),
    )  # fmt: skip


def _judged(share: DeploymentShare, limit: float) -> Status:
    low, high = share.low - share.expected, share.high - share.expected
    if low > limit or high < -limit:
        return Status.FAIL
    return Status.PASS if share.share is not None and -limit <= low and high <= limit else Status.UNKNOWN


def _measured(spread: Spread) -> str:
    if spread.jain is None:
        return f"{spread.phase}: no answer"
    shares = ", ".join(f"{s.tier} {s.share:.1%}" for s in spread.shares)
    return f"{spread.phase}: {shares} (n={spread.n}, Jain {spread.jain:.3f})"

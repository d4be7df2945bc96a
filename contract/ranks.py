"""The order of the fallback as ranks: tiers that the gateway balances between stand in one, and none of them is lower. Pure."""

from collections.abc import Sequence

Ranks = Sequence[Sequence[str]]
"""Names of tiers, the first rank topmost. Most ranks hold one tier."""


def rank_of(ranks: Ranks, tier: str | None) -> int | None:
    """Its place in the fallback's order; None where no rank has it."""
    return next((i for i, rank in enumerate(ranks) if tier in rank), None)


def peers_of(ranks: Ranks, tier: str) -> list[str]:
    """The tier and those that it is balanced with; itself alone where no rank has it."""
    return next((list(rank) for rank in ranks if tier in rank), [tier])


def above(ranks: Ranks, tier: str) -> list[str]:
    """All tiers of the ranks above its own, topmost first; none where no rank has it."""
    place = rank_of(ranks, tier) or 0
    return [name for rank in ranks[:place] for name in rank]


def told(ranks: Ranks) -> str:
    """`vllm-a + vllm-b → ollama`."""
    return " → ".join(" + ".join(rank) for rank in ranks)

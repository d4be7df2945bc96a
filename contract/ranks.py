"""The fallback order as ranks: tiers that the gateway balances between share one rank. Pure."""

from collections.abc import Sequence

Ranks = Sequence[Sequence[str]]
"""Names of tiers, the topmost rank first. Most ranks have one tier."""


def rank_of(ranks: Ranks, tier: str | None) -> int | None:
    """The index of the tier's rank in the fallback order; None: no rank has it."""
    return next((i for i, rank in enumerate(ranks) if tier in rank), None)


def peers_of(ranks: Ranks, tier: str) -> list[str]:
    """The tier and those that it is balanced with; only itself if no rank has it."""
    return next((list(rank) for rank in ranks if tier in rank), [tier])


def above(ranks: Ranks, tier: str) -> list[str]:
    """All tiers of the ranks above its own, topmost first; empty if no rank has it."""
    place = rank_of(ranks, tier) or 0
    return [name for rank in ranks[:place] for name in rank]


def describe(ranks: Ranks) -> str:
    """`vllm-a + vllm-b → ollama`."""
    return " → ".join(" + ".join(rank) for rank in ranks)

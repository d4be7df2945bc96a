"""Names the tier of an answer, and its place in the fallback order. Pure: records in, names and places out.

The places are the ranks of the topology; deployments that the gateway balances share one. Without a topology they are learnt:
the first tier is the one that answered without a fallback, by the gateway's own header; other tiers follow it in the order in
which they first answered.
"""

from contract.ranks import Ranks, rank_of
from contract.records import RequestRecord

FIRST = 0


class Lineup:
    """`ranks`: the topology's; empty without a topology."""

    def __init__(self, ranks: Ranks = ()) -> None:
        self._ranks = ranks
        self._first: str | None = None  # learnt, as are the tiers outside the ranks
        self._behind: list[str] = []

    def name(self, record: RequestRecord) -> str | None:
        """The tier by the topology, else the model group, else the api base. None: unknown."""
        route = record.route_group or record.route_api_base
        name = record.tier if self._ranks and record.tier is not None else route
        if record.status != 200 or name is None:  # only on a 200 are the gateway's headers right
            return None
        if rank_of(self._ranks, name) is None and name != self._first and name not in self._behind:
            if not self._ranks and self._first is None and not record.route_fallbacks:
                self._first = name
            else:
                self._behind.append(name)
        return name

    def place(self, name: str | None) -> int | None:
        """0: the first tier, or a peer of it. None: unknown."""
        if name is None:
            return None
        if name == self._first:
            return FIRST
        rank = rank_of(self._ranks, name)
        return max(1, len(self._ranks)) + self._behind.index(name) if rank is None else rank

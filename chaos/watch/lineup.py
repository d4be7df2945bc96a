"""Who gave an answer, and in which place of the fallback. Pure: records in, names and places out.

A topology tells the places. Where there is none they are learnt: the first tier is the one that answered without a
fallback, by the gateway's own header; who else answers stands behind it, in the order in which they were met.
"""

from collections.abc import Sequence

from contract.records import Ask

FIRST = 0


class Lineup:
    """`tiers`: the topology's names in their order; empty where nobody told them."""

    def __init__(self, tiers: Sequence[str] = ()) -> None:
        self._tiers = list(tiers)
        self._first: str | None = self._tiers[0] if self._tiers else None
        self._behind = self._tiers[1:]

    def name(self, ask: Ask) -> str | None:
        """The tier by the topology, else the model group, else the api base. None: nothing told it."""
        group = ask.route_group or ask.route_api_base
        name = ask.tier if self._tiers and ask.tier is not None else group
        if ask.status != 200 or name is None:  # only on a 200 are the gateway's headers right
            return None
        if name != self._first and name not in self._behind:
            if self._first is None and not ask.route_fallbacks:
                self._first = name
            else:
                self._behind.append(name)
        return name

    def place(self, name: str | None) -> int | None:
        """0: the first tier. None: nobody knows."""
        if name is None:
            return None
        return FIRST if name == self._first else 1 + self._behind.index(name)

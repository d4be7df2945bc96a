"""Which document is asked next, so that as many as possible are answered by each tier. Pure.

A document that two tiers have answered shows what the change of tier did to it, and only such a one does. So each is asked
once before any is asked again, anew whenever another tier answers; and of those that are still to be asked the ones go
first that other tiers have answered already. Who will answer nobody knows beforehand: it is taken to be whoever answered
last. How an answer was judged plays no part, so the choice favours no tier.
"""

import random
from collections import Counter
from collections.abc import Sequence

from contract.document import Document


class Walk:
    """Shared by all who classify in one process. Every document taken with `next` is given back once with `done`."""

    def __init__(self, documents: Sequence[Document], seed: int, beginning: float = 0.0) -> None:
        """`beginning`: where in the seeded order to begin, as a part of it; workers begin at places of their own."""
        order = sorted(documents, key=lambda document: document.id)
        random.Random(f"{seed}/documents").shuffle(order)
        first = int(len(order) * beginning)
        self._order = order[first:] + order[:first]
        self._had: dict[str, Counter[str | None]] = {document.id: Counter() for document in order}
        self._under_way: Counter[str] = Counter()
        self._serving: str | None = None  # who answered last; None: nobody has yet

    def next(self) -> Document:
        """The document to ask about now: none that is under way, as long as there are others."""
        found = min(self._order, key=lambda document: self._rank(document.id))  # of equals the first
        self._under_way[found.id] += 1
        return found

    def done(self, document: Document, tier: str | None) -> None:
        """Its turn is over; `tier` answered. None: nobody did, and it waits for its next turn all the same."""
        self._serving = self._serving if tier is None else tier
        self._had[document.id][self._serving if tier is None else tier] += 1
        self._under_way[document.id] -= 1

    def _rank(self, id: str) -> tuple[int, int, int]:
        had = self._had[id]
        others = sum(1 for tier, times in had.items() if tier != self._serving and times)
        return self._under_way[id], had[self._serving], -others

"""Which document is classified next, so that as many as possible are classified by each tier. Pure.

Only a document that two tiers have classified shows the effect of a change of tier. So each document is sent once before any
is sent again, and this starts anew whenever another tier answers. Of the documents still to be sent, those come first that other
tiers have classified already. The tier that will answer is unknown beforehand: it is assumed to be the tier that answered last.
The quality of an answer is not considered, so the choice favours no tier.
"""

import random
from collections import Counter
from collections.abc import Sequence

from contract.document import Document


class DocumentOrder:
    """Shared by all instances in one process. Call `done` once for every document that `next` returned."""

    def __init__(self, documents: Sequence[Document], seed: int, beginning: float = 0.0) -> None:
        """`beginning`: where to start in the seeded order, as a share of it; each worker starts at a different place."""
        order = sorted(documents, key=lambda document: document.id)
        random.Random(f"{seed}/documents").shuffle(order)
        first = int(len(order) * beginning)
        self._order = order[first:] + order[:first]
        self._had: dict[str, Counter[str | None]] = {document.id: Counter() for document in order}
        self._under_way: Counter[str] = Counter()
        self._serving: str | None = None  # the tier that answered last; None: none has yet

    def next(self) -> Document:
        """The next document to classify: one that is not under way, as long as there are others."""
        found = min(self._order, key=lambda document: self._rank(document.id))  # the first of equals
        self._under_way[found.id] += 1
        return found

    def done(self, document: Document, tier: str | None) -> None:
        """The turn of the document is over; `tier` answered. None: no tier did; the document still waits for its next turn."""
        self._serving = self._serving if tier is None else tier
        self._had[document.id][self._serving if tier is None else tier] += 1
        self._under_way[document.id] -= 1

    def _rank(self, id: str) -> tuple[int, int, int]:
        had = self._had[id]
        others = sum(1 for tier, times in had.items() if tier != self._serving and times)
        return self._under_way[id], had[self._serving], -others

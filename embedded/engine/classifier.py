"""What the model says of documents that it knows: the right answer, a wrong one, or no JSON at all, in stated shares. Pure.

Which documents are answered wrongly hangs on the seed, the model and their ids alone: the documents are put in an order
by hash, the first ones are answered rightly and the last ones without JSON, so that the shares of a whole corpus are exact.
"""

import datetime
import hashlib
import json
from collections.abc import Sequence
from random import Random
from typing import Any

from contract.document import BEGINNING, FIELDS, Document, right_answer, usable, wrong_fields
from contract.tokens import pieces

NO_JSON = "I am sorry, but this text is too hard to read for me to say what kind of document it is."
_OTHERS = {
    "correspondent": ("Northgate Leasing", "Praxis am Ring", "Mairie de Valbourg"),
    "document_type": ("Warranty", "Delivery note", "Minutes"),
    "language": ("de", "en", "fr"),
}


class Classifier:
    """One model's knowledge of a corpus."""

    def __init__(
        self, documents: Sequence[Document], seed: int, model: str, accuracy: float, invalid: float
    ) -> None:
        """`accuracy`: the share of the documents answered rightly; `invalid`: without JSON. Together at most 1."""
        self._documents = documents
        ranked = sorted(documents, key=lambda document: _hash(f"{seed} {model} {document.id}"))
        right, unread = round(accuracy * len(ranked)), round(invalid * len(ranked))
        unread = min(unread, len(ranked) - right)  # both may round up
        self._said = {}
        for place, document in enumerate(ranked):
            if place < right:
                said = json.dumps(right_answer(document), ensure_ascii=False)
            elif place >= len(ranked) - unread:
                said = NO_JSON
            else:
                said = json.dumps(
                    wrong_answer(document, Random(f"{seed} {model} {document.id}")), ensure_ascii=False
                )
            self._said[document.id] = pieces(said)

    def tokens(self, said: str, nonce: str | None) -> list[str] | None:
        """The answer to who said this; None: it is no document that is known here."""
        document = self._about(said.partition(nonce)[2] if nonce else said)
        return None if document is None else self._said[document.id]

    def _about(self, text: str) -> Document | None:
        """Known by its beginning, for a client may cut its end, and a gateway put something behind it."""
        text = text.lstrip()
        found = [d for d in self._documents if text.startswith(d.text[:BEGINNING])]
        return max(found, key=lambda document: len(document.text[:BEGINNING]), default=None)


def wrong_answer(document: Document, chance: Random) -> dict[str, Any]:
    """One that a client can use, and that has one or two of the judged fields wrong."""
    answer = right_answer(document)
    for name in chance.sample(FIELDS, 1 + (chance.random() < 0.3)):
        if name != "correspondent" and chance.random() < 0.2:
            del answer[name]
        elif name == "document_date":
            days = chance.randint(1, 40)
            answer[name] = (document.document_date - datetime.timedelta(days=days)).isoformat()
        else:
            others = [word for word in _OTHERS[name] if name in wrong_fields(document, {name: word})]
            answer[name] = chance.choice(others)
    assert usable(json.dumps(answer)) is not None
    assert wrong_fields(document, answer)
    return answer


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()

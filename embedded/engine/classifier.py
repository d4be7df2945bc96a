"""The model's answers about known documents: correct, wrong, or not JSON, in configured shares. Pure.

The seed, the model and the document ids alone decide which documents get wrong answers. The documents are ordered by
hash; the first get correct answers and the last get text that is not JSON, so the shares of a whole corpus are exact.
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
    """One model's answers about a corpus of documents."""

    def __init__(
        self, documents: Sequence[Document], seed: int, model: str, accuracy: float, invalid: float
    ) -> None:
        """`accuracy`: share of documents with a correct answer; `invalid`: share whose answer is not JSON. Sum at most 1."""
        self._documents = documents
        ranked = sorted(documents, key=lambda document: _hash(f"{seed} {model} {document.id}"))
        right, unread = round(accuracy * len(ranked)), round(invalid * len(ranked))
        unread = min(unread, len(ranked) - right)  # both may be rounded up
        self._answers = {}
        for place, document in enumerate(ranked):
            if place < right:
                answer = json.dumps(right_answer(document), ensure_ascii=False)
            elif place >= len(ranked) - unread:
                answer = NO_JSON
            else:
                answer = json.dumps(
                    wrong_answer(document, Random(f"{seed} {model} {document.id}")), ensure_ascii=False
                )
            self._answers[document.id] = pieces(answer)

    def tokens(self, text: str, nonce: str | None) -> list[str] | None:
        """The tokens of the answer to this user text; None: the text is not a known document."""
        document = self._find(text.partition(nonce)[2] if nonce else text)
        return None if document is None else self._answers[document.id]

    def _find(self, text: str) -> Document | None:
        """Matches by the beginning: a client may truncate the text, and a gateway may append to it."""
        text = text.lstrip()
        found = [d for d in self._documents if text.startswith(d.text[:BEGINNING])]
        return max(found, key=lambda document: len(document.text[:BEGINNING]), default=None)


def wrong_answer(document: Document, chance: Random) -> dict[str, Any]:
    """A usable answer with one or two of the judged fields wrong."""
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

"""Document classifiers, as Paperless-AI is one: a plain ask for a JSON object that says what a document is.

Each instance has one document under way. Nothing caps the answer and no schema binds it, so it is verified by its
content: a JSON object that was cut does not close. Each retry of the client's is an ask with a record of its own.
"""

from dataclasses import replace

import gevent
from locust import task

from contract.classification import Classification
from contract.document import Document
from contract.proper_end import JSON_OBJECT
from contract.records import Ask
from contract.request import Request
from scenarios.gateway.stage import DEADLINES
from scenarios.gateway.user import GatewayUser
from scenarios.retries import RETRIES, asks_again, wait_s

TEMPERATURE = 0.3
LONGEST = 50_000  # characters of a document's text
PAUSE_S = 0.5  # what was found is written back, the next document fetched
TIMEOUT_S = 600.0
SYSTEM = (
    "You are a document analyst. Read the document, which an OCR program has made into text, and answer with exclusively "
    "a JSON object, without any other word, of this shape: "
    '{"title": "short and to the point, without addresses", '
    '"correspondent": "the sender, in the shortest form that is clear", '
    '"tags": ["up to four topics"], '
    '"document_type": "Invoice, Contract, Letter, ... in one or two words", '
    '"document_date": "YYYY-MM-DD", '
    '"language": "en, de, fr, ..."}'
)


class ClassifyUser(GatewayUser):
    """One instance."""

    scenario = "classify"
    fixed_count = 3
    deadlines = replace(DEADLINES, first_token=TIMEOUT_S, silence=TIMEOUT_S, whole=TIMEOUT_S)

    def wait_time(self) -> float:
        return PAUSE_S

    @task
    def classify(self) -> None:
        """One document. Whatever becomes of it, it waits for its next turn then."""
        walk = self.stage.documents
        document = walk.next()
        ask: Ask | None = None
        try:
            ask = self._answered(document)
        finally:
            walk.done(document, ask.tier if ask is not None else None)

    def _answered(self, document: Document) -> Ask:
        """The last of the calls that the client makes for it."""
        for attempt in range(1, RETRIES + 2):
            request = Request(
                prompt=document.text[:LONGEST], stream=False, capped=False, system=SYSTEM, temperature=TEMPERATURE,
                proper_end=JSON_OBJECT, classification=Classification(document, attempt),
            )  # fmt: skip
            ask = self.send(request)
            if attempt > RETRIES or not asks_again(ask, self.headers):
                break
            gevent.sleep(wait_s(attempt - 1, self.headers, self.stage.clock.now(), self.random.random()))
        return ask

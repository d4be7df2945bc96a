"""Document classifiers like Paperless-AI: an unstreamed request for a JSON object that describes a document.

Each instance classifies one document at a time. The answer has no token cap and no schema, so its content verifies it:
a JSON object that was cut does not close. Each retry of the client is a request with its own record.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import gevent
from locust import task

from contract.classification import Classification
from contract.document import Document
from contract.document import read as documents
from contract.proper_end import JSON_OBJECT
from contract.records import RequestRecord
from contract.refusal import Refusal
from contract.request import Request
from scenarios.gateway.document_order import DocumentOrder
from scenarios.gateway.retries import RETRIES, is_retried, wait_s
from scenarios.gateway.user import GatewayUser
from scenarios.gateway.user_context import DEADLINES

DOCUMENTS = Path(__file__).parent / "documents"
TEMPERATURE = 0.3
LONGEST = 50_000  # characters of a document's text
PAUSE_S = 0.5  # the client writes the result back and fetches the next document
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
    by_default = False
    unattended = True
    fixed_count = 3
    arguments: ClassVar = {
        "documents": {
            "default": str(DOCUMENTS),
            "help": "scenario classify: folder of the documents, each with its correct answer",
        },
        "instances": {
            "type": int,
            "default": fixed_count,
            "help": "scenario classify: number of instances; each classifies one document at a time",
        },
    }
    deadlines = replace(DEADLINES, first_token=TIMEOUT_S, silence=TIMEOUT_S, whole=TIMEOUT_S)

    @classmethod
    def read(cls, options: argparse.Namespace) -> list[Document]:
        """The documents. Sets the number of instances."""
        if options.instances < 1:
            raise Refusal(f"--instances: {options.instances} classifies no document; give 1 or more")
        cls.fixed_count = options.instances
        return documents(Path(options.documents))

    def wait_time(self) -> float:
        return PAUSE_S

    @task
    def classify(self) -> None:
        """Classify one document. Whatever the outcome, the document then waits for its next turn."""
        order = self._order
        document = order.next()
        record: RequestRecord | None = None
        try:
            record = self._answered(document)
        finally:
            order.done(document, record.tier if record is not None else None)

    @property
    def _order(self) -> DocumentOrder:
        """The document order that all instances of this process share.

        Each worker starts at a different place in the same order and wraps around. If each worker had only a part of the
        documents, the part of a worker without an instance would never be classified.
        """
        user_context = self.user_context
        share = user_context.share
        order: DocumentOrder = user_context.shared(
            self.scenario, lambda found: DocumentOrder(found, user_context.seed, share.index / share.of)
        )
        return order

    def _answered(self, document: Document) -> RequestRecord:
        """The record of the last attempt for this document."""
        for attempt in range(1, RETRIES + 2):
            request = Request(
                prompt=document.text[:LONGEST], stream=False, capped=False, history=(("system", SYSTEM),), temperature=TEMPERATURE,
                proper_end=JSON_OBJECT, classification=Classification(document, attempt),
            )  # fmt: skip
            record = self.send(request)
            if attempt > RETRIES or not is_retried(record, self.headers):
                break
            gevent.sleep(
                wait_s(attempt - 1, self.headers, self.user_context.clock.now(), self.random.random())
            )
        return record


USER = ClassifyUser

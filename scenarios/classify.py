"""Document classifiers, as Paperless-AI is one: a plain ask for a JSON object that says what a document is.

Each instance has one document under way. Nothing caps the answer and no schema binds it, so it is verified by its
content: a JSON object that was cut does not close. Each retry of the client's is a request with a record of its own.
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
from scenarios.gateway.document_order import Walk
from scenarios.gateway.retries import RETRIES, is_retried, wait_s
from scenarios.gateway.user import GatewayUser
from scenarios.gateway.user_context import DEADLINES

DOCUMENTS = Path(__file__).parent / "documents"
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
    by_default = False
    unattended = True
    fixed_count = 3
    arguments: ClassVar = {
        "documents": {
            "default": str(DOCUMENTS),
            "help": "the folder of documents that classify requests about, each with its right answer",
        },
        "instances": {
            "type": int,
            "default": fixed_count,
            "help": "of classify: each has one document under way",
        },
    }
    deadlines = replace(DEADLINES, first_token=TIMEOUT_S, silence=TIMEOUT_S, whole=TIMEOUT_S)

    @classmethod
    def read(cls, options: argparse.Namespace) -> list[Document]:
        """The documents. Sets how many instances there are."""
        if options.instances < 1:
            raise Refusal(f"--instances: {options.instances} requests about no document; give 1 or more")
        cls.fixed_count = options.instances
        return documents(Path(options.documents))

    def wait_time(self) -> float:
        return PAUSE_S

    @task
    def classify(self) -> None:
        """One document. Whatever becomes of it, it waits for its next turn then."""
        walk = self._walk
        document = walk.next()
        record: RequestRecord | None = None
        try:
            record = self._answered(document)
        finally:
            walk.done(document, record.tier if record is not None else None)

    @property
    def _walk(self) -> Walk:
        """The one walk through the documents that all instances of this process share.

        A worker begins at a place of its own in the same order, and goes round: where workers without an instance left out
        their shares, these documents would never be asked about.
        """
        stage = self.stage
        share = stage.share
        walk: Walk = stage.shared(
            self.scenario, lambda found: Walk(found, stage.seed, share.index / share.of)
        )
        return walk

    def _answered(self, document: Document) -> RequestRecord:
        """The last of the calls that the client makes for it."""
        for attempt in range(1, RETRIES + 2):
            request = Request(
                prompt=document.text[:LONGEST], stream=False, capped=False, history=(("system", SYSTEM),), temperature=TEMPERATURE,
                proper_end=JSON_OBJECT, classification=Classification(document, attempt),
            )  # fmt: skip
            record = self.send(request)
            if attempt > RETRIES or not is_retried(record, self.headers):
                break
            gevent.sleep(wait_s(attempt - 1, self.headers, self.stage.clock.now(), self.random.random()))
        return record


USER = ClassifyUser

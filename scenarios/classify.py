"""A document classifier, as Paperless-AI is one: a plain ask for a JSON object that says what a document is.

Its answer is free to end where it ends, so it is verified by its content: a JSON object that was cut parses no more.
Classifiers in the field ask in words alone. Here the object's schema is asked for too, through the gateway as well: it
is a parameter of the API itself, unlike `ignore_eos`, and without it a small model's disobedience would look like a
cut. On request only: --scenarios classify.
"""

from typing import Any

from locust import task

from contract.proper_end import json_object
from scenarios.gateway.user import GatewayUser
from scenarios.prompts import document

DOCUMENT_TOKENS = (200, 1500)
MAX_TOKENS = 256
PAUSE_S = 1.0  # one document after the other
SYSTEM = (
    "You classify documents. Answer with exclusively a JSON object: title, correspondent, tags (up to 4), "
    "document_type, document_date (YYYY-MM-DD), language. Keep every value short."
)
_TEXT = {"type": "string"}
PROPERTIES = {
    "title": _TEXT,
    "correspondent": _TEXT,
    "tags": {"type": "array", "items": _TEXT},
    "document_type": _TEXT,
    "document_date": _TEXT,
    "language": _TEXT,
}
SCHEMA = {
    "type": "object", "properties": PROPERTIES, "required": list(PROPERTIES), "additionalProperties": False,
}  # fmt: skip
ASKED: dict[str, Any] = {
    "stream": False, "system": SYSTEM, "schema": SCHEMA, "max_tokens": MAX_TOKENS,
    "proper_end": json_object(PROPERTIES),
}  # fmt: skip


class ClassifyUser(GatewayUser):
    scenario = "classify"

    def wait_time(self) -> float:
        return PAUSE_S

    @task
    def classify(self) -> None:
        text = document(self.random, self.prompt_tokens(self.random.randint(*DOCUMENT_TOKENS)))
        self.ask(text, **ASKED)

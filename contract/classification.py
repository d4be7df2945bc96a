"""The classification part of a request: which document it is about, and how its answer is judged. Pure."""

from dataclasses import dataclass

from contract.document import Document, usable, wrong_fields


@dataclass(frozen=True, slots=True)
class Classification:
    """One call for one document."""

    document: Document
    attempt: int  # from 1; more are the client's own retries

    def judge(self, content: str) -> tuple[bool, list[str] | None]:
        """The record's `valid` and `wrong`. The content is not kept.

        `content` has no leading thoughts: only the model's answer is judged. Paperless-AI itself does not remove thoughts
        (a `<think>` before the object is "Invalid JSON" to it, except a short one), so its operators keep thoughts out of
        the content: with a reasoning parser at the engine, or with thinking switched off.
        """
        found = usable(content)
        return (False, None) if found is None else (True, wrong_fields(self.document, found))

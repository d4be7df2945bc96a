"""What the request of a document classifier brings along: which document it is about, and how its answer is judged. Pure."""

from dataclasses import dataclass

from contract.document import Document, usable, wrong_fields


@dataclass(frozen=True, slots=True)
class Classification:
    """One call for one document."""

    document: Document
    attempt: int  # from 1; more are the client's own retries

    def judge(self, content: str) -> tuple[bool, list[str] | None]:
        """The record's `valid` and `wrong`. The content is looked at and let go.

        It comes without the thoughts that lead it: what is judged is the model's answer. Paperless-AI itself sets none aside
        (a `<think>` before the object is "Invalid JSON" to it, but for a short one), so whoever runs it keeps thoughts out of the
        content: with a reasoning parser at the engine, or with thinking switched off.
        """
        found = usable(content)
        return (False, None) if found is None else (True, wrong_fields(self.document, found))

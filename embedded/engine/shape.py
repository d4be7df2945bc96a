"""The format of one answer on the wire: the operations that every API format implements.

`finish` and `refuse` end an answer properly; only faults use the other ends.
"""

from typing import Protocol

from embedded.engine.ledger import Entry


class Shape(Protocol):
    """Methods that write content return the time just before the write."""

    def arrived(self) -> None:
        """The request is valid and may have to wait."""

    def started(self) -> None:
        """It has a slot."""

    def token(self, text: str, reason: str | None = None) -> float | None:
        """One more token; None if nothing is written yet. `reason`: the finish reason, if this is known to be the last
        token; `finish` follows."""

    def thought(self, text: str, reason: str | None = None) -> float | None:
        """One more reasoning token; None if nothing is written now."""

    def finish(self, reason: str, entry: Entry, done: bool = True) -> float | None:
        """Ends the answer with a finish reason: length, stop, abort, ...; `done` False omits the end-of-stream marker."""

    def refuse(self, body: bytes, done: bool = True) -> None:
        """Ends with an error after the headers of a 200 were sent."""

    def end_without_reason(self, entry: Entry) -> float | None:
        """Ends the HTTP framing properly, without a finish reason."""

    def leave_unfinished(self, entry: Entry) -> float | None:
        """Leaves the HTTP framing without its end; the caller closes the connection."""

    def garble(self) -> None:
        """Makes a part of the answer invalid JSON."""

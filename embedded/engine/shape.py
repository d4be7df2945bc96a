"""How one answer looks on the wire: the verbs that every API has, whatever its bytes.

An answer has its proper end by `finish` or `refuse`; the other ends are those that only a fault asks for.
"""

from typing import Protocol

from embedded.engine.ledger import Entry


class Shape(Protocol):
    """What writes content gives the instant just before the write."""

    def arrived(self) -> None:
        """The request is well formed and may have to wait."""

    def started(self) -> None:
        """It has a slot."""

    def token(self, text: str, reason: str | None = None) -> float | None:
        """One more token; None where nothing is written yet. `reason`: it is known to be the last, and why; `finish` follows."""

    def thought(self, text: str, reason: str | None = None) -> float | None:
        """One more token of the model's thoughts; None where nothing is written yet, or ever."""

    def finish(self, reason: str, entry: Entry, done: bool = True) -> float | None:
        """That was all, and why: length, stop, abort, ...; without `done` what tells that a stream is over is left out."""

    def refuse(self, body: bytes, done: bool = True) -> None:
        """It cannot be answered, or not to its end, though the headers of a 200 are out."""

    def trail_off(self, entry: Entry) -> float | None:
        """The framing's proper end, with nothing before it that says why."""

    def break_off(self, entry: Entry) -> float | None:
        """The framing lacks its end; what closes the connection is to follow."""

    def garble(self) -> None:
        """A part of the answer is no JSON."""

"""The base of faults inside an answer, and what a fault can do to a request. The catalogue is in faults/, one per file.

Law: a request is hit by the fault that was set when it arrived, only while that fault is set; a held request is
released when the fault ends. The request's ledger entry records what the fault did.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from embedded.engine.completion_request import CompletionRequest
from embedded.engine.ledger import Entry
from embedded.engine.pace import TokenClock
from embedded.engine.parameters import share
from embedded.engine.refusal import Refusal, Refusals
from embedded.engine.shape import Shape
from embedded.engine.switch import ActiveFault
from embedded.engine.wire import Reply


class AnswerEnded(Exception):
    """The fault has ended the answer; `how` goes into the ledger."""

    def __init__(self, how: str, written_at: float | None = None) -> None:
        super().__init__(how)
        self.how = how
        self.written_at = written_at


@dataclass(kw_only=True)
class Fault:
    """Does nothing. A fault's docstring is its text in the catalogue; its fields are its parameters."""

    share: float = share()
    """The share of requests to hit, drawn from the engine's seed and the request: the same requests are hit in every run."""

    async def on_request(self, hit: "Hit") -> None:
        """Called when the request has been read, before it is checked."""

    def on_queue(self, hit: "Hit") -> None:
        """Called when the request is accepted, before it waits for a slot."""

    async def before(self, hit: "Hit", position: int) -> None:
        """Called when token `position` is due, before it is written; with hit.length, before the end is written."""

    def reason_with(self, position: int) -> str | None:
        """The finish reason to send with token `position`, if this fault ends the answer right after it; else None."""
        return None

    def is_healthy(self, age_s: float) -> bool:
        """What the health page reports `age_s` seconds after the fault was set."""
        return True


class Hit:
    """One request and the fault that hits it; records what the fault does in the entry."""

    completion: CompletionRequest | None  # None: the body is invalid
    shape: Shape
    due: TokenClock
    length: int  # of the whole answer, in tokens
    reason: str  # its finish reason without the fault

    def __init__(
        self,
        active: ActiveFault,
        entry: Entry,
        reply: Reply,
        refusals: Refusals,
        encode: Callable[[Refusal], bytes],
    ) -> None:
        self._fault: Fault = active.fault
        self.active = active
        self.entry = entry
        self.reply = reply
        self.refusals = refusals
        self.encode = encode
        """A refusal as bytes, in the format of the requested API."""
        self.garbled = False
        """The answer continues to its end, but a part of it is not JSON."""

    async def on_request(self, completion: CompletionRequest | None) -> None:
        self.completion = completion
        await self._fault.on_request(self)

    def on_queue(self, shape: Shape) -> None:
        self.shape = shape
        if self.active.is_set:
            self._fault.on_queue(self)

    async def before(self, position: int) -> None:
        if self.active.is_set:
            await self._fault.before(self, position)

    def reason_with(self, position: int) -> str | None:
        return self._fault.reason_with(position) if self.active.is_set else None

    def mark(self) -> None:
        """Records that the fault has affected this request."""
        self.entry.fault = self.active.name

    def refuse(self, refusal: Refusal, retry_after_s: float | None = None) -> NoReturn:
        self.mark()
        if retry_after_s is not None:
            refusal.headers = {"retry-after": f"{retry_after_s:g}"}
        raise refusal

    async def hold(self, at_most_s: float | None = None) -> float:
        """Waits until the fault ends, at most `at_most_s`; returns the time then, on the loop's clock."""
        self.mark()
        try:
            await asyncio.wait_for(self.active.ended.wait(), at_most_s)
        except TimeoutError:
            pass
        return asyncio.get_running_loop().time()

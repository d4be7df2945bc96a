"""What a fault inside an answer is, and what it may do to a request that it hits. The catalogue is in faults/, one a file.

Law: a request is hit by the fault that was set when it arrived, and no longer than that fault lasts; whoever is held is
let go when it ends. What was done to a request stands in its entry.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from embedded.engine.completion_request import CompletionRequest
from embedded.engine.ledger import Entry
from embedded.engine.pace import TokenClock
from embedded.engine.parameters import share
from embedded.engine.refusal import Refusal, Voice
from embedded.engine.shape import Shape
from embedded.engine.switch import Standing
from embedded.engine.wire import Reply


class Over(Exception):
    """The fault has ended the answer in its own way."""

    def __init__(self, how: str, written_at: float | None = None) -> None:
        super().__init__(how)
        self.how = how
        self.written_at = written_at


@dataclass(kw_only=True)
class Fault:
    """Does nothing. The docstring of each fault is its sentence in the catalogue, its fields are its parameters."""

    share: float = share()
    """Of all requests, drawn from the engine's seed and the request: the same request is hit in every run, and when it is repeated."""

    async def at_door(self, hit: "Hit") -> None:
        """The request was read, and was not looked at."""

    def in_line(self, hit: "Hit") -> None:
        """It can be served, and may have to wait for a slot."""

    async def before(self, hit: "Hit", position: int) -> None:
        """Token `position` is due and was not told; or, at hit.length, the end is."""

    def reason_with(self, position: int) -> str | None:
        """Where token `position` is the last before an end of the fault's, and the engine says the reason beside it: which."""
        return None

    def is_healthy(self, age_s: float) -> bool:
        """What the health page says, so long after the fault was set."""
        return True


class Hit:
    """One request and the fault that is to hit it; what is done is told to the entry."""

    completion: CompletionRequest | None  # None: it makes no sense
    shape: Shape
    due: TokenClock
    length: int  # of the whole answer, in tokens
    reason: str  # why it would end there

    def __init__(
        self,
        standing: Standing,
        entry: Entry,
        reply: Reply,
        voice: Voice,
        said: Callable[[Refusal], bytes],
    ) -> None:
        self._fault: Fault = standing.fault
        self.standing = standing
        self.entry = entry
        self.reply = reply
        self.voice = voice
        self.said = said
        """A refusal as bytes, in the API that was asked."""
        self.garbled = False
        """The answer went on to its end all the same, and a part of it is no JSON."""

    async def at_door(self, completion: CompletionRequest | None) -> None:
        self.completion = completion
        await self._fault.at_door(self)

    def in_line(self, shape: Shape) -> None:
        self.shape = shape
        if self.standing.lasts:
            self._fault.in_line(self)

    async def before(self, position: int) -> None:
        if self.standing.lasts:
            await self._fault.before(self, position)

    def reason_with(self, position: int) -> str | None:
        return self._fault.reason_with(position) if self.standing.lasts else None

    def mark(self) -> None:
        """From here on the fault has done something to this request."""
        self.entry.fault = self.standing.name

    def refuse(self, refusal: Refusal, retry_after_s: float | None = None) -> NoReturn:
        self.mark()
        if retry_after_s is not None:
            refusal.headers = {"retry-after": f"{retry_after_s:g}"}
        raise refusal

    async def hold(self, at_most_s: float | None = None) -> float:
        """Waits until the fault ends, or for so long; the instant then, on the loop's clock."""
        self.mark()
        try:
            await asyncio.wait_for(self.standing.ended.wait(), at_most_s)
        except TimeoutError:
            pass
        return asyncio.get_running_loop().time()

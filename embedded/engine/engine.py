"""One answer, from the queue to its last token, as every personality gives it; how it looks is the Shape's affair.

A fault of the catalogue that is to come has its place here, between a token that is due and its being told.
"""

import asyncio
from random import Random
from typing import Protocol

from contract.clock import Clock
from embedded.engine.ask import Ask
from embedded.engine.ledger import Entry, Ledger
from embedded.engine.meter import Meter
from embedded.engine.options import Options
from embedded.engine.pace import TokenClock
from embedded.engine.slots import Closed, Slots
from embedded.engine.words import word


class Shape(Protocol):
    """How one answer looks on the wire. What writes content gives the instant just before the write."""

    def arrived(self) -> None:
        """The ask is well formed and may have to wait."""

    def started(self) -> None:
        """It has a slot."""

    def token(self, text: str) -> float | None:
        """One more token; None where nothing is written yet."""

    def finish(self, reason: str, entry: Entry) -> float | None:
        """That was all, and why: length, stop or abort."""

    def refuse(self, body: bytes) -> None:
        """It cannot be answered, though the headers of a 200 are out."""


class Engine:
    def __init__(self, options: Options, clock: Clock, ledger: Ledger) -> None:
        self.options = options
        self.clock = clock
        self.ledger = ledger
        self.meter = Meter()
        self.slots = Slots(options.pace.max_num_seqs, options.max_waiting)
        self.stopping = False
        self._naps: set[asyncio.Future[None]] = set()

    async def answer(self, ask: Ask, entry: Entry, shape: Shape, tells_abort: bool) -> None:
        """Raises slots.Full where there is no room to wait, and says nothing then."""
        entry.prompt_tokens = ask.prompt_tokens
        shape.arrived()
        try:
            async with self.slots.one():
                how = await self._generate(ask, entry, shape)
        except Closed:
            how = "abort"
        except asyncio.CancelledError:
            # The client went away; to the engine that is an abort.
            self.meter.ended["abort"] += 1
            raise
        entry.how = how
        if how != "abort" or tells_abort:
            self._note_content(entry, shape.finish(how, entry))
        self.meter.ended[how] += 1

    async def _generate(self, ask: Ask, entry: Entry, shape: Shape) -> str:
        loop, options, meter = asyncio.get_running_loop(), self.options, self.meter
        entry.started_at = round(self.clock.now(), 6)
        entry.output_tokens = 0
        shape.started()
        length, reason = ask.end(options.natural_length, options.max_model_len - ask.prompt_tokens)
        # Seeded by a text: the same ask draws the same words and lengths in every run, whatever else is running.
        chance = Random(f"{options.seed} {ask.prompt}")
        due = TokenClock(options.pace, chance, loop.time())
        meter.prompt_tokens += ask.prompt_tokens
        meter.tokens_held += ask.prompt_tokens
        told_at = entry.arrived_at
        try:
            for position in range(length):
                due_s = due.next_due_s(self.slots.running)
                text = word(chance, position)
                if loop.time() < due_s and not self.stopping:
                    await self._nap_until(due_s)
                if self.stopping:
                    return "abort"
                self._note_content(entry, shape.token(text))
                entry.output_tokens = position + 1
                meter.generation_tokens += 1
                meter.tokens_held += 1
                now = self.clock.now()
                (meter.itl if position else meter.ttft).observe(now - told_at)
                told_at = now
            return reason
        finally:
            meter.tokens_held -= ask.prompt_tokens + entry.output_tokens

    def _note_content(self, entry: Entry, written_at: float | None) -> None:
        if written_at is None:
            return
        entry.chunks.append(round(written_at, 6))
        if entry.first_byte_at is None:
            entry.first_byte_at = round(self.clock.now(), 6)

    async def _nap_until(self, due_s: float) -> None:
        loop = asyncio.get_running_loop()
        nap = loop.create_future()
        alarm = loop.call_at(due_s, _wake, nap)
        self._naps.add(nap)
        try:
            await nap
        finally:
            alarm.cancel()
            self._naps.discard(nap)

    def stop(self) -> None:
        """Every ask under way ends here and now, with "abort"."""
        self.stopping = True
        self.slots.close()
        for nap in self._naps:
            _wake(nap)


def _wake(nap: asyncio.Future[None]) -> None:
    if not nap.done():
        nap.set_result(None)

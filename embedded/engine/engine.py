"""One answer, from the queue to its last token, as every personality gives it; how it looks is the Shape's affair.

A fault comes in between a token that is due and its being told.
"""

import asyncio
from random import Random
from typing import TYPE_CHECKING

from contract.clock import Clock
from embedded.engine.ask import Ask
from embedded.engine.fault import Hit, Over
from embedded.engine.ledger import Entry, Ledger
from embedded.engine.loading import Model
from embedded.engine.meter import Meter
from embedded.engine.options import Options
from embedded.engine.pace import TokenClock
from embedded.engine.shape import Shape
from embedded.engine.slots import Closed, Slots
from embedded.engine.switch import Switch
from embedded.engine.words import word

if TYPE_CHECKING:
    from embedded.engine.classifier import Classifier


class Engine:
    def __init__(self, options: Options, clock: Clock, ledger: Ledger) -> None:
        self.options = options
        self.clock = clock
        self.ledger = ledger
        self.meter = Meter()
        self.slots = Slots(options.pace.max_num_seqs, options.max_waiting)
        self.model = Model(options.load_at_first_request_s, options.keep_alive_s, options.max_waiting)
        self.starting = False
        """It listens already, and does not serve yet."""
        self.faults = Switch(options.seed, clock)
        self.stopping = False
        self._classifier = _classifier(options)
        self._naps: set[asyncio.Future[None]] = set()

    async def answer(
        self, ask: Ask, entry: Entry, shape: Shape, tells_abort: bool, hit: Hit | None = None
    ) -> None:
        """Raises slots.Full where there is no room to wait, and says nothing then; a Refusal, where a fault wants it."""
        entry.prompt_tokens = ask.prompt_tokens
        shape.arrived()
        try:
            if hit is not None:
                hit.in_line(shape)
            async with self.model.used(ask.keep_alive_s), self.slots.one():
                how = await self._generate(ask, entry, shape, hit)
        except Closed:
            how = "abort"
        except Over as over:
            entry.how = over.how
            self._note_content(entry, over.written_at)
            # An answer that a fault ended early is to the engine one whose client went away.
            self.meter.ended[over.how if over.how in self.meter.ended else "abort"] += 1
            return
        except asyncio.CancelledError:
            # The client went away; to the engine that is an abort.
            self.meter.ended["abort"] += 1
            raise
        garbled = hit is not None and hit.garbled and how != "abort"
        entry.how = "garbled" if garbled else how
        if how != "abort" or tells_abort:
            self.ledger.ends(entry)
            self._note_content(entry, shape.finish(how, entry))
        self.meter.ended[how] += 1

    async def _generate(self, ask: Ask, entry: Entry, shape: Shape, hit: Hit | None) -> str:
        loop, options, meter = asyncio.get_running_loop(), self.options, self.meter
        entry.started_at = round(self.clock.now(), 6)
        entry.output_tokens = 0
        shape.started()
        # Seeded by a text: the same ask draws the same words and lengths in every run, whatever else is running.
        chance = Random(f"{options.seed} {ask.prompt}")
        spelt = self._classifier.tokens(ask.said, ask.nonce) if self._classifier is not None else None
        thoughts = options.reasoning_tokens
        natural_length = options.natural_length if spelt is None else len(spelt)
        if natural_length is not None:
            natural_length += thoughts
        length, reason = ask.end(natural_length, options.max_model_len - ask.prompt_tokens)
        due = TokenClock(options.pace, chance, loop.time())
        if hit is not None:
            hit.due, hit.length, hit.reason = due, length, reason
        meter.prompt_tokens += ask.prompt_tokens
        meter.tokens_held += ask.prompt_tokens
        told_at = entry.arrived_at
        try:
            for position in range(length):
                due_s = due.next_due_s(self.slots.running)
                if spelt is None or position < thoughts:
                    text = word(chance, position)
                else:  # what is to go on after the answer's end is blank
                    text = spelt[position - thoughts] if position - thoughts < len(spelt) else " "
                if loop.time() < due_s and not self.stopping:
                    await self._nap_until(due_s)
                if hit is not None:
                    await hit.before(position)
                if self.stopping:
                    return "abort"
                if ask.stream and position == 0:
                    self.ledger.begins(entry)
                write = shape.thought if position < thoughts else shape.token
                self._note_content(entry, write(text))
                entry.output_tokens = position + 1
                meter.generation_tokens += 1
                meter.tokens_held += 1
                now = self.clock.now()
                (meter.itl if position else meter.ttft).observe(now - told_at)
                told_at = now
            if hit is not None:
                await hit.before(length)
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
        self.faults.clear()
        self.slots.close()
        self.model.close()
        for nap in self._naps:
            _wake(nap)


def _classifier(options: Options) -> "Classifier | None":
    if not options.documents:
        return None
    from embedded.engine.classifier import (
        Classifier,
    )  # only here: reading documents takes what is not cheap to import

    return Classifier(
        options.documents, options.seed, options.names[0], options.accuracy, options.invalid_json
    )


def _wake(nap: asyncio.Future[None]) -> None:
    if not nap.done():
        nap.set_result(None)

"""One answer from the queue to its last token, the same for every personality; the Shape formats it.

A fault acts between the time a token is due and its write.
"""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from contract.clock import Clock
from embedded.engine.completion_request import CompletionRequest
from embedded.engine.fault import AnswerEnded, Hit
from embedded.engine.ledger import Entry, Ledger
from embedded.engine.loading import Model
from embedded.engine.meter import Meter
from embedded.engine.options import Options
from embedded.engine.pace import TokenClock
from embedded.engine.shape import Shape
from embedded.engine.shutdown import ERROR, SILENCE
from embedded.engine.sleep import Sleep
from embedded.engine.slots import Closed, Slots
from embedded.engine.switch import Switch
from embedded.engine.words import word

if TYPE_CHECKING:
    from embedded.engine.classifier import Classifier

# Delays above this come from a frozen process, not from a busy machine: counts must not depend on machine load.
LATE_S = 1.0


class CoreDied(Exception):
    """The engine's core has ended; the answer ends with an error."""


@dataclass(frozen=True)
class Behaviour:
    """How a personality's answers end early and catch up."""

    reports_abort: bool
    """Answers that the engine ends early carry "abort"; otherwise they have no proper end."""
    joins_late_tokens: bool = False
    """Tokens that became due while the process was frozen are sent in one chunk."""


class Engine:
    def __init__(self, options: Options, clock: Clock, ledger: Ledger) -> None:
        self.options = options
        self.clock = clock
        self.ledger = ledger
        self.meter = Meter()
        self.slots = Slots(options.pace.max_num_seqs, options.max_waiting)
        self.model = Model(options.load_at_first_request_s, options.keep_alive_s, options.max_waiting)
        self.starting = False
        """It listens but does not serve yet."""
        self.faults = Switch(options.seed, clock)
        self.sleep = Sleep()
        self.shutting_down = False
        """It got SIGTERM; running answers may finish, new requests are refused."""
        self.core_dead = False
        """Its core has ended; the process ends soon."""
        self.answering = 0
        """Admitted requests that have not ended."""
        self._stopped: str | None = None
        self._aborts = 0
        self._classifier = _classifier(options)
        self._naps: set[asyncio.Future[None]] = set()
        self._idle = asyncio.Event()

    async def answer(
        self,
        completion: CompletionRequest,
        entry: Entry,
        shape: Shape,
        behaviour: Behaviour,
        hit: Hit | None = None,
    ) -> None:
        """Raises slots.Full before any write if the queue is full; CoreDied; a Refusal, if a fault refuses the request."""
        entry.prompt_tokens = completion.prompt_tokens
        # Before any header: no engine opens a 200 for a request that finds the queue full.
        if hit is not None:
            hit.on_queue(shape)
        self.slots.check_capacity()
        shape.arrived()
        self.answering += 1
        try:
            aborts = self._aborts
            await self.sleep.wait_until_awake()
            async with self.model.in_use(completion.keep_alive_s), self.slots.acquire():
                how = await self._generate(completion, entry, shape, behaviour, hit, aborts)
        except Closed:
            how = await self._end_early()
        except AnswerEnded as ended:
            entry.how = ended.how
            self._note_content(entry, ended.written_at)
            # The engine counts an answer that a fault ended early like one whose client disconnected.
            self.meter.ended[ended.how if ended.how in self.meter.ended else "abort"] += 1
            return
        except asyncio.CancelledError:
            # The client disconnected; the engine counts that as an abort.
            self.meter.ended["abort"] += 1
            raise
        finally:
            self.answering -= 1
            if self.answering == 0:
                self._idle.set()
        garbled = hit is not None and hit.garbled and how != "abort"
        entry.how = "garbled" if garbled else how
        if how != "abort" or behaviour.reports_abort:
            if entry.ending is None:
                self.ledger.ends(entry)
            self._note_content(entry, shape.finish(how, entry))
        self.meter.ended[how] += 1

    async def _generate(
        self,
        completion: CompletionRequest,
        entry: Entry,
        shape: Shape,
        behaviour: Behaviour,
        hit: Hit | None,
        aborts: int,
    ) -> str:
        loop, options, meter = asyncio.get_running_loop(), self.options, self.meter
        entry.started_at = round(self.clock.now(), 6)
        entry.output_tokens = 0
        shape.started()
        # Seeded by the prompt: the same request gets the same words and times in every run, whatever else runs.
        chance = Random(f"{options.seed} {completion.prompt}")
        spelt = (
            self._classifier.tokens(completion.user_text, completion.nonce)
            if self._classifier is not None
            else None
        )
        thoughts = options.reasoning_tokens
        natural_length = options.natural_length if spelt is None else len(spelt)
        if natural_length is not None:
            natural_length += thoughts
        length, reason = completion.end(natural_length, options.max_model_len - completion.prompt_tokens)
        due = TokenClock(options.pace, chance, loop.time(), completion.prompt_tokens)
        if hit is not None:
            hit.due, hit.length, hit.reason = due, length, reason
        meter.prompt_tokens += completion.prompt_tokens
        meter.tokens_held += completion.prompt_tokens
        previous_at = entry.arrived_at
        joins = behaviour.joins_late_tokens and completion.stream and hit is None
        held: list[str] = []
        due_s = due.next_due_s(self.slots.running)
        try:
            for position in range(length):
                if spelt is None or position < thoughts:
                    text = word(chance, position)
                else:  # tokens beyond the end of the answer are blank
                    text = spelt[position - thoughts] if position - thoughts < len(spelt) else " "
                if loop.time() < due_s and self._stopped is None:
                    await self._nap_until(due_s)
                if self.sleep.asleep and aborts == self._aborts:
                    await self.sleep.wait_until_awake()
                    due.resume(loop.time())
                if hit is not None:
                    await hit.before(position)
                if self._stopped is not None or aborts != self._aborts:
                    how = await self._end_early()
                    if position == 0 or not behaviour.reports_abort:
                        return how
                    # The current token is sent with the reason; if it is the last one, the answer is complete.
                    if position + 1 < length:
                        length, reason = position + 1, how
                if completion.stream and position == 0:
                    self.ledger.begins(entry)
                # An answer that stops by itself needs one more token, which has no text.
                is_last = position + 1 == length and reason != "stop" and hit is None
                if is_last:
                    entry.how = reason
                    self.ledger.ends(entry)
                entry.output_tokens = position + 1
                meter.generation_tokens += 1
                meter.tokens_held += 1
                is_late = joins and (bool(held) or loop.time() - due_s > LATE_S)
                held.append(text)
                due_s = due.next_due_s(self.slots.running)
                ends = position + 1 in (length, thoughts)
                if not is_late or ends or due_s > loop.time():
                    beside = reason if is_last else hit.reason_with(position) if hit is not None else None
                    write = shape.thought if position < thoughts else shape.token
                    self._note_content(entry, write("".join(held), beside))
                    entry.joined += len(held) - 1
                    held.clear()
                now = self.clock.now()
                (meter.itl if position else meter.ttft).observe(now - previous_at)
                previous_at = now
                if position + 1 == length:
                    break
            if hit is not None and reason != "abort":
                await hit.before(length)
            return reason
        finally:
            meter.tokens_held -= completion.prompt_tokens + entry.output_tokens

    async def _end_early(self) -> str:
        """The finish reason of an answer that the engine ends early; never returns with SILENCE. Raises CoreDied."""
        if self._stopped == SILENCE:
            await asyncio.get_running_loop().create_future()
        if self._stopped == ERROR:
            raise CoreDied
        return "abort"

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

    def stop(self, end: str) -> None:
        """Ends every running request at once; `end` is one of `shutdown.ENDS`."""
        self._stopped = end
        self.faults.clear()
        if end != SILENCE:
            self.slots.close()
            self.model.close()
        self.sleep.wake()
        self._wake_all()

    def abort(self) -> None:
        """Ends every running request at once with "abort"; the engine keeps running."""
        self._aborts += 1
        self.slots.close()
        self._wake_all()

    async def idle(self, within_s: float) -> bool:
        """Waits until no request is running; False if that takes longer than `within_s`."""
        self._idle.clear()
        if self.answering == 0:
            return True
        try:
            await asyncio.wait_for(self._idle.wait(), within_s)
        except TimeoutError:
            return False
        return True

    def _wake_all(self) -> None:
        for nap in self._naps:
            _wake(nap)


def _classifier(options: Options) -> "Classifier | None":
    if not options.documents:
        return None
    from embedded.engine.classifier import (
        Classifier,
    )  # only here: slow to import

    return Classifier(
        options.documents, options.seed, options.names[0], options.accuracy, options.invalid_json
    )


def _wake(nap: asyncio.Future[None]) -> None:
    if not nap.done():
        nap.set_result(None)

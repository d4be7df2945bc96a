"""A fixed number of slots, and a first-in, first-out queue of limited length."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Full(Exception):
    """Every slot is taken and the queue is full."""


class Closed(Exception):
    """The engine shuts down; waiting requests end without a slot."""


class Slots:
    def __init__(self, max_running: int, max_waiting: int | None) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._line: deque[asyncio.Future[bool]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._line)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[None]:
        """A slot for the duration of the block. Raises Full if the queue is full."""
        await self._take()
        try:
            yield
        finally:
            self._give_back()

    def check_capacity(self) -> None:
        """Raises Full if `acquire` would."""
        taken = self.running >= self._max_running
        if taken and self._max_waiting is not None and len(self._line) >= self._max_waiting:
            raise Full

    async def _take(self) -> None:
        self.check_capacity()
        if self.running < self._max_running:
            self.running += 1
            return
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            given = await turn
        except asyncio.CancelledError:
            if turn in self._line:
                self._line.remove(turn)
            elif turn.done() and not turn.cancelled() and turn.result():
                # The slot was assigned in the same loop iteration in which the client disconnected.
                self._give_back()
            raise
        if not given:
            raise Closed

    def _give_back(self) -> None:
        while self._line:
            turn = self._line.popleft()
            # A request whose client disconnected is cancelled before it leaves the queue.
            if not turn.done():
                turn.set_result(True)
                return
        self.running -= 1

    def close(self) -> None:
        """Ends every waiting request with Closed."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(False)

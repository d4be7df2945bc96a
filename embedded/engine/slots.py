"""Who runs and who waits: a fixed number of slots, first come first served, and a line that may be too long."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Full(Exception):
    """Every slot is taken and the line is as long as it may be."""


class Closed(Exception):
    """The engine goes down; whoever waits goes home without a slot."""


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
    async def one(self) -> AsyncIterator[None]:
        """A slot for as long as the block lasts; raises Full where there is no room to wait for one."""
        await self._take()
        try:
            yield
        finally:
            self._give_back()

    def look_for_room(self) -> None:
        """Raises Full where `one` would."""
        taken = self.running >= self._max_running
        if taken and self._max_waiting is not None and len(self._line) >= self._max_waiting:
            raise Full

    async def _take(self) -> None:
        self.look_for_room()
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
                # The slot was handed over in the same breath in which the client went away.
                self._give_back()
            raise
        if not given:
            raise Closed

    def _give_back(self) -> None:
        while self._line:
            turn = self._line.popleft()
            # One whose client went away is cancelled before it has left the line.
            if not turn.done():
                turn.set_result(True)
                return
        self.running -= 1

    def close(self) -> None:
        """Sends everybody in the line home."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(False)

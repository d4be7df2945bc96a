"""A model that the first request loads, and that is unloaded when idle, as with Ollama.

The load belongs to the request that started it. If its client disconnects, the load is cancelled, and the next waiting
request starts a new one from the beginning. Waiting requests are served in order of arrival.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedded.engine.slots import Closed, Full


class Model:
    """`load_s` None: the model is loaded when the engine listens, and stays loaded."""

    def __init__(self, load_s: float | None, keep_alive_s: float, max_waiting: int | None) -> None:
        self._load_s = load_s
        self._default_s = self._keep_alive_s = keep_alive_s
        self._max_waiting = max_waiting
        self._turn = asyncio.Lock()  # first come, first served
        self._closed = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._users = 0
        self._waiting = 0
        self._is_loaded = load_s is None
        self.unloads_at: float | None = None
        """On the loop's clock; None: in use, or never unloaded."""

    @property
    def is_listed(self) -> bool:
        """Whether Ollama's /api/ps lists it: loaded, or being loaded."""
        return self._is_loaded or self._turn.locked()

    @asynccontextmanager
    async def in_use(self, keep_alive_s: float | None) -> AsyncIterator[None]:
        """Keeps it loaded during the block, and for `keep_alive_s` longer (None: the engine's default; below 0: forever).

        Raises Full if too many requests wait for the load, and Closed if the engine shuts down meanwhile.
        """
        if self._load_s is None:
            yield
            return
        if not self._is_loaded:
            await self._loaded(self._load_s)
        self._disarm()
        self._users += 1
        if keep_alive_s is not None:
            self._keep_alive_s = keep_alive_s
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._expire()

    def close(self) -> None:
        """The engine shuts down: requests that wait for the load end with Closed."""
        self._closed.set()
        self._disarm()

    async def _loaded(self, load_s: float) -> None:
        if self._max_waiting is not None and self._waiting > self._max_waiting:
            raise Full
        self._waiting += 1
        try:
            async with self._turn:
                if not self._is_loaded:
                    await self._load(load_s)
        finally:
            self._waiting -= 1

    async def _load(self, load_s: float) -> None:
        """If the request that started it is cancelled, nothing is loaded."""
        try:
            await asyncio.wait_for(self._closed.wait(), load_s)
        except TimeoutError:
            self._is_loaded, self._keep_alive_s = True, self._default_s
        else:
            raise Closed

    def _expire(self) -> None:
        if self._keep_alive_s < 0:
            return
        if self._keep_alive_s == 0:
            self._unload()
            return
        loop = asyncio.get_running_loop()
        self.unloads_at = loop.time() + self._keep_alive_s
        self._alarm = loop.call_later(self._keep_alive_s, self._unload)

    def _unload(self) -> None:
        self._disarm()
        self._is_loaded = False

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self.unloads_at = None, None

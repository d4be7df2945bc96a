"""A model that is loaded by the first request for it, and unloaded when nobody has used it for a while: Ollama's way.

The load belongs to the request that began it. When its client leaves, the load is given up, and the next request that
waits begins another one, from the start. All that wait are served in the order in which they came.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedded.engine.slots import Closed, Full


class Model:
    """`load_s` of None: it is loaded when the engine listens, and stays so."""

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
        """On the loop's clock; None: it is in use, or stays for ever."""

    @property
    def is_listed(self) -> bool:
        """As Ollama's /api/ps lists it: loaded, or being loaded."""
        return self._is_loaded or self._turn.locked()

    @asynccontextmanager
    async def used(self, keep_alive_s: float | None) -> AsyncIterator[None]:
        """Loaded for as long as the block lasts, and for `keep_alive_s` longer (None: as the engine was told; below 0: for ever).

        Raises Full where too many wait for the load, and Closed where the engine goes down meanwhile.
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
        """The engine goes down: who waits for the load goes home."""
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
        """Cancelled with the request that began it, and then nothing was loaded."""
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

"""A sleeping engine: it runs, its health page reports 200, and it generates no token until it is woken."""

import asyncio

STATES = ("awake", "weights_offloaded", "discard_all")
"""The labels of `vllm:engine_sleep_state`; the second is level 1, the third level 2."""


class Sleep:
    def __init__(self) -> None:
        self._awake = asyncio.Event()
        self._awake.set()
        self.level = 0

    @property
    def asleep(self) -> bool:
        return not self._awake.is_set()

    @property
    def state(self) -> str | None:
        """None: asleep at level 0, with everything kept."""
        if not self.asleep:
            return STATES[0]
        return STATES[self.level] if self.level else None

    def start(self, level: int) -> None:
        self.level = level
        self._awake.clear()

    def wake(self) -> None:
        self._awake.set()

    async def wait_until_awake(self) -> None:
        await self._awake.wait()

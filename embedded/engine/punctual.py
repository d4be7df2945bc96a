"""An event loop that wakes exactly when a token is due: epoll rounds up to whole milliseconds, so it would be half a
millisecond late on average.
"""

import asyncio
import select
import selectors


class PunctualSelector(selectors.EpollSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            # select() counts in microseconds, and can wait for an epoll descriptor.
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(PunctualSelector())

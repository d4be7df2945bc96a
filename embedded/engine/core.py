"""vLLM's EngineCore: a separate process that holds the GPU memory; here it only exists.

Killing it ends all running answers. It survives a kill of the server alone: only killing the whole group frees the memory.
"""

import asyncio
import ctypes
import os
import signal
from contextlib import suppress
from typing import NoReturn

NAME = b"VLLM::EngineCore"  # the kernel keeps 15 bytes of it
_PR_SET_NAME = 15
_LIBC = ctypes.CDLL(None)


class Core:
    def __init__(self) -> None:
        """Create it before anything is opened: it keeps inherited descriptors open as long as it lives."""
        self.pid = os.fork()
        if self.pid == 0:
            _live()

    async def death(self) -> None:
        """Waits until the process has ended."""
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        handle = os.pidfd_open(self.pid)
        loop.add_reader(handle, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _live() -> NoReturn:
    _LIBC.prctl(_PR_SET_NAME, NAME, 0, 0, 0)
    while True:
        signal.pause()

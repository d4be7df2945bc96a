"""The first reason to stop: a signal, the leash or a guard. It ends every wait of the chaos process."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


Wait = Callable[[threading.Event, float], bool]
"""Waits for an event, for at most so many seconds; returns whether it is set. A parameter, as the clock is."""


class Stop:
    """Set at most once: later reasons change nothing, so that a second signal cannot shorten a restore."""

    def __init__(self, wait: Wait = threading.Event.wait) -> None:
        self._event, self._wait = threading.Event(), wait
        self._lock = threading.Lock()
        self.reason: str | None = None

    def set(self, reason: str) -> None:
        with self._lock:
            if self.reason is None:
                self.reason = reason
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Whether it was set within so many seconds."""
        return self._wait(self._event, max(0.0, seconds))

    def on_signals(self) -> None:
        """From now on, signals that would end the process make it restore and exit."""

        def handler(number: int, frame: FrameType | None) -> None:
            # Not from inside the handler: it may have interrupted a thread that holds the lock.
            name = signal.Signals(number).name
            threading.Thread(target=self.set, args=(f"signal: {name}",), daemon=True).start()

        for number in SIGNALS:
            signal.signal(number, handler)

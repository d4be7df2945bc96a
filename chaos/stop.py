"""One reason to stop, given once: signals, the leash, a guard. Every wait of the wing ends with it."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


Wait = Callable[[threading.Event, float], bool]
"""Waits for an event, for so many seconds at most; whether it is set. Handed in as the clock is."""


class Stop:
    """Set at most once; who comes second changes nothing, so that no second signal cuts a restore short."""

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
        """Whether it was set before the time was up."""
        return self._wait(self._event, max(0.0, seconds))

    def on_signals(self) -> None:
        """From now on the signals that end a program only ask it to restore and leave."""

        def handler(number: int, frame: FrameType | None) -> None:
            # Not from inside the handler: it may have interrupted a thread that holds the lock.
            name = signal.Signals(number).name
            threading.Thread(target=self.set, args=(f"signal: {name}",), daemon=True).start()

        for number in SIGNALS:
            signal.signal(number, handler)

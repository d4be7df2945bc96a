"""One reason to stop, given once: signals, the leash, a guard. Every wait of the wing ends with it."""

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Stop:
    """Set at most once; who comes second changes nothing, so that no second signal cuts a mend short."""

    def __init__(self) -> None:
        self._event = threading.Event()
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
        return self._event.wait(max(0.0, seconds))

    def on_signals(self) -> None:
        """From now on the signals that end a program only ask it to mend and leave."""

        def handler(number: int, frame: FrameType | None) -> None:
            # Not from inside the handler: it may have interrupted a thread that holds the lock.
            name = signal.Signals(number).name
            threading.Thread(target=self.set, args=(f"signal: {name}",), daemon=True).start()

        for number in SIGNALS:
            signal.signal(number, handler)

"""Clocks whose time passes when code waits or when a test moves it."""

import threading
from collections.abc import Callable

from contract.clock import Clock


class Passing:
    """A clock that `wait` moves; `at` schedules a call."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._due: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self._now

    def at(self, after_s: float, call: Callable[[], None]) -> None:
        self._due.append((self._now + after_s, call))
        self._due.sort(key=lambda due: due[0])

    def wait(self, seconds: float) -> None:
        self._now += seconds
        while self._due and self._due[0][0] <= self._now:
            self._due.pop(0)[1]()


class Ahead(Clock):
    """Real time, for tests with components that run in real time. A test moves it forward, which ends waits for a time that has
    passed. A sleep takes at most 0.05 s; the rest of its time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead_s = 0.0
        self._stands_at: float | None = None

    def now(self) -> float:
        return (super().now() if self._stands_at is None else self._stands_at) + self._ahead_s

    def forward(self, seconds: float) -> None:
        self._ahead_s += seconds

    def stand_still(self) -> None:
        """Until `go_on`, time passes only by `forward`."""
        self._stands_at = super().now()

    def go_on(self) -> None:
        self._stands_at = None

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """As `chaos.stop.Wait`."""
        over_at = self.now() + seconds
        while (left_s := over_at - self.now()) > 0:
            if event.wait(min(left_s, 0.02)):
                return True
        return event.is_set()

    def sleep(self, seconds: float) -> None:
        really_s = min(seconds, 0.05)
        threading.Event().wait(really_s)
        if self._stands_at is None:
            self.forward(seconds - really_s)

"""Time that passes when somebody waits, and not otherwise."""

from collections.abc import Callable


class Passing:
    """A clock and the waiting that moves it; `at` calls something when its time has come."""

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

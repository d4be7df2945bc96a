"""Which fault is set, by whom and until when. The id is the lock: nobody else's fault is replaced or taken away.

Law: a fault ends at its own deadline, whoever set it and whatever became of them.
"""

import asyncio
from random import Random
from typing import Any

from contract.clock import Clock


class Standing:
    """A fault from being set to its end."""

    def __init__(self, name: str, fault: Any, who: str, for_s: float, clock: Clock) -> None:
        self.name = name
        self.fault = fault
        self.who = who
        self.ended = asyncio.Event()
        self._clock = clock
        self._set_at = clock.now()
        self._alarm: asyncio.TimerHandle | None = None
        self.renew(for_s)

    def renew(self, for_s: float) -> None:
        self.until = self._clock.now() + for_s
        self._disarm()
        self._alarm = asyncio.get_running_loop().call_later(for_s, self.end)

    def end(self) -> None:
        self._disarm()
        self.ended.set()

    @property
    def lasts(self) -> bool:
        # The alarm of a process that was frozen rings after the requests that were read in the same breath.
        return not self.ended.is_set() and self._clock.now() < self.until

    @property
    def age_s(self) -> float:
        return self._clock.now() - self._set_at

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()


class Taken(Exception):
    """A fault is set that has another id."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing.who)
        self.standing = standing


class Switch:
    def __init__(self, seed: int, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock
        self._standing: Standing | None = None

    @property
    def standing(self) -> Standing | None:
        """What is set, and not past its deadline."""
        if self._standing is not None and not self._standing.lasts:
            self._standing.end()
            self._standing = None
        return self._standing

    def set(self, name: str, fault: Any, who: str, for_s: float) -> Standing:
        """Raises Taken. The same once more, by the same id, is told a new deadline and nothing else."""
        now = self._mine(who)
        if now is not None and (now.name, now.fault) == (name, fault):
            now.renew(for_s)
            return now
        self.clear(who)
        self._standing = Standing(name, fault, who, for_s, self._clock)
        return self._standing

    def clear(self, who: str | None = None) -> None:
        """Ends what is set, and lets go whoever it holds. Raises Taken where it has another id than the one given."""
        now = self._mine(who)
        if now is not None:
            now.end()
            self._standing = None

    def hits(self, key: str) -> Standing | None:
        """What is set, if it hits the request with this nonce or text."""
        now = self.standing
        if now is None:
            return None
        # Not the text that an answer's words are drawn from: the share must not be one of quick or slow answers.
        return now if Random(f"{self._seed} hit {key}").random() < now.fault.share else None

    def _mine(self, who: str | None) -> Standing | None:
        now = self.standing
        if now is not None and who is not None and now.who != who:
            raise Taken(now)
        return now

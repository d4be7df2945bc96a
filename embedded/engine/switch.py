"""The active fault, its owner and its deadline. The owner's id is the lock: no other id can replace or end the fault.

Law: a fault ends at its own deadline, even if its owner is gone.
"""

import asyncio
from random import Random
from typing import Any

from contract.clock import Clock


class ActiveFault:
    """A fault from the time it is set to its end. `owner` is the id that set it."""

    def __init__(self, name: str, fault: Any, owner: str, for_s: float, clock: Clock) -> None:
        self.name = name
        self.fault = fault
        self.owner = owner
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
    def is_set(self) -> bool:
        # After a freeze, requests may be handled before the timer of the deadline.
        return not self.ended.is_set() and self._clock.now() < self.until

    @property
    def age_s(self) -> float:
        return self._clock.now() - self._set_at

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()


class SetByOther(Exception):
    """The active fault has another owner."""

    def __init__(self, active: ActiveFault) -> None:
        super().__init__(active.owner)
        self.active = active


class Switch:
    def __init__(self, seed: int, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock
        self._active: ActiveFault | None = None

    @property
    def active(self) -> ActiveFault | None:
        """The fault that is set and not past its deadline."""
        if self._active is not None and not self._active.is_set:
            self._active.end()
            self._active = None
        return self._active

    def set(self, name: str, fault: Any, owner: str, for_s: float) -> ActiveFault:
        """Raises SetByOther. Setting the same fault again with the same id only renews its deadline."""
        now = self._owned(owner)
        if now is not None and (now.name, now.fault) == (name, fault):
            now.renew(for_s)
            return now
        self.clear(owner)
        self._active = ActiveFault(name, fault, owner, for_s, self._clock)
        return self._active

    def clear(self, owner: str | None = None) -> None:
        """Ends the active fault and releases held requests. Raises SetByOther if `owner` is given and is not its id."""
        now = self._owned(owner)
        if now is not None:
            now.end()
            self._active = None

    def hits(self, key: str) -> ActiveFault | None:
        """The active fault, if it hits the request with this nonce or text."""
        now = self.active
        if now is None:
            return None
        # Another seed than for the answer's words: otherwise the share could select quick or slow answers.
        return now if Random(f"{self._seed} hit {key}").random() < now.fault.share else None

    def _owned(self, owner: str | None) -> ActiveFault | None:
        now = self.active
        if now is not None and owner is not None and now.owner != owner:
            raise SetByOther(now)
        return now

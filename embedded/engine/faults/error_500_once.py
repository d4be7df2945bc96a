from dataclasses import dataclass, field

from embedded.engine.fault import Fault, Hit


@dataclass(kw_only=True)
class Error500Once(Fault):
    """The next request is refused with 500; then the fault is used up, and stays set without doing anything."""

    # Shown, and no parameter; to be told the same twice must not load it again.
    used_up: bool = field(default=False, init=False, compare=False)

    async def at_door(self, hit: Hit) -> None:
        if not self.used_up:
            self.used_up = True
            hit.refuse(hit.voice.failed())


FAULT = Error500Once

from dataclasses import dataclass, field

from embedded.engine.fault import Fault, Hit


@dataclass(kw_only=True)
class Error500Once(Fault):
    """The next request is refused with 500; then the fault is used up: it stays set and does nothing."""

    # Visible, but not a parameter; setting the same fault twice must not reset it.
    used_up: bool = field(default=False, init=False, compare=False)

    async def on_request(self, hit: Hit) -> None:
        if not self.used_up:
            self.used_up = True
            hit.refuse(hit.refusals.failed())


FAULT = Error500Once

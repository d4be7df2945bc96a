from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import seconds


@dataclass(kw_only=True)
class Flapping(Fault):
    """The engine alternates between down (503, its health page too) and up, down first; running answers continue."""

    up_s: float = seconds(5.0, above_zero=True)
    down_s: float = seconds(5.0, above_zero=True)

    async def on_request(self, hit: Hit) -> None:
        if not self.is_healthy(hit.active.age_s):
            hit.refuse(hit.refusals.unavailable())

    def is_healthy(self, age_s: float) -> bool:
        return age_s % (self.down_s + self.up_s) >= self.down_s


FAULT = Flapping

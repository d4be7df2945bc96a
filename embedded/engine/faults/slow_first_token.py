from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import seconds


@dataclass(kw_only=True)
class SlowFirstToken(Fault):
    """The first token is delayed by `delay_s`, at most until the fault ends; headers are not delayed."""

    delay_s: float = seconds(5.0, above_zero=True)

    async def before(self, hit: Hit, position: int) -> None:
        if position == 0:
            hit.due.resume(await hit.hold(self.delay_s))


FAULT = SlowFirstToken

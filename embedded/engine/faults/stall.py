from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import tokens


@dataclass(kw_only=True)
class Stall(Fault):
    """After so many tokens an answer falls silent until the fault ends; then it goes on, at its usual pace."""

    after_tokens: int = tokens(1)

    async def before(self, hit: Hit, position: int) -> None:
        if position == self.after_tokens:
            hit.due.resume(await hit.hold())


FAULT = Stall

from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import seconds_or_none


@dataclass(kw_only=True)
class RateLimit(Fault):
    """Every request is refused with 429, with or without a Retry-After."""

    retry_after_s: float | None = seconds_or_none()

    async def on_request(self, hit: Hit) -> None:
        hit.refuse(hit.refusals.limited(), self.retry_after_s)


FAULT = RateLimit

from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import seconds_or_none


@dataclass(kw_only=True)
class Unavailable(Fault):
    """Every request is refused with 503, with or without a Retry-After, while the health page reports 200."""

    retry_after_s: float | None = seconds_or_none()

    async def on_request(self, hit: Hit) -> None:
        hit.refuse(hit.refusals.unavailable(), self.retry_after_s)


FAULT = Unavailable

from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.slots import Full


@dataclass(kw_only=True)
class PrefillRefused(Fault):
    """Every request is refused as if the queue were full, in each engine's way: vLLM says 503."""

    def in_line(self, hit: Hit) -> None:
        hit.mark()
        raise Full


FAULT = PrefillRefused

from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.slots import Full


@dataclass(kw_only=True)
class PrefillRefused(Fault):
    """Every request is refused as if the queue were full, in the engine's own format: 503 with vLLM."""

    def on_queue(self, hit: Hit) -> None:
        hit.mark()
        raise Full


FAULT = PrefillRefused

from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit


@dataclass(kw_only=True)
class ContextLength(Fault):
    """Every request is refused with 400 as too long, as if the context were one token too small for its prompt."""

    async def on_request(self, hit: Hit) -> None:
        if hit.completion is not None:
            hit.refuse(hit.refusals.too_long(hit.completion, max(hit.completion.prompt_tokens - 1, 0)))


FAULT = ContextLength

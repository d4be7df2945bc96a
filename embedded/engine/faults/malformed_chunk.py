from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import tokens


@dataclass(kw_only=True)
class MalformedChunk(Fault):
    """After `after_tokens` tokens comes one line that is not JSON, then the stream continues; a plain answer lacks its
    last byte, and its content-length matches the shorter body.
    """

    after_tokens: int = tokens(1)

    async def before(self, hit: Hit, position: int) -> None:
        if position == self.after_tokens:
            hit.mark()
            hit.shape.garble()
            hit.garbled = True


FAULT = MalformedChunk

from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import tokens


@dataclass(kw_only=True)
class MalformedChunk(Fault):
    """After so many tokens comes one line that is no JSON, then the stream goes on; a plain answer lacks its last byte,
    which its content-length does not count.
    """

    after_tokens: int = tokens(1)

    async def before(self, hit: Hit, position: int) -> None:
        if position == self.after_tokens:
            hit.mark()
            hit.shape.garble()
            hit.garbled = True


FAULT = MalformedChunk

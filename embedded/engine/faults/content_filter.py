from dataclasses import dataclass

from embedded.engine.fault import AnswerEnded, Fault, Hit
from embedded.engine.parameters import tokens


@dataclass(kw_only=True)
class ContentFilter(Fault):
    """After `after_tokens` tokens an answer ends with finish_reason "content_filter", streamed or plain."""

    after_tokens: int = tokens(0)

    async def before(self, hit: Hit, position: int) -> None:
        if position == self.after_tokens:
            hit.mark()
            raise AnswerEnded("content_filter", hit.shape.finish("content_filter", hit.entry))


FAULT = ContentFilter

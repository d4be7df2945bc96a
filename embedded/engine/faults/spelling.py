from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import one_of
from embedded.engine.spelling import HOWS, Spelling


@dataclass(kw_only=True)
class OtherSpelling(Fault):
    """The same answer in other bytes, as real servers send it: `how` is one of single_newline (between events),
    bare_cr, crlf, no_space (behind data:), comments, nothings (`data: ping`, `null`, `""`, `[]` between events),
    byte_order_mark, unended (the last event), no_content_type, white_space (before the answer), gzip (although not requested).
    """

    how: str = one_of(*HOWS)

    async def on_request(self, hit: Hit) -> None:
        hit.mark()
        hit.reply.spelling = Spelling(self.how)


FAULT = OtherSpelling

from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit, Over


@dataclass(kw_only=True)
class NoDone(Fault):
    """A stream has all its tokens, its finish_reason and its framing's end, and no [DONE]; one in lines of JSON lacks
    the line that says done; plain answers, which have neither, are left alone.
    """

    async def before(self, hit: Hit, position: int) -> None:
        if position == hit.length and hit.reply.opened:
            hit.mark()
            raise Over(hit.reason, hit.shape.finish(hit.reason, hit.entry, done=False))


FAULT = NoDone

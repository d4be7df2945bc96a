from dataclasses import dataclass

from embedded.engine.fault import AnswerEnded, Fault, Hit


@dataclass(kw_only=True)
class NoDone(Fault):
    """A stream has all its tokens, its finish_reason and its framing's end, but no [DONE]; a stream of JSON lines lacks
    the line with done. Plain answers have neither and are not affected.
    """

    async def before(self, hit: Hit, position: int) -> None:
        if position == hit.length and hit.reply.opened:
            hit.mark()
            raise AnswerEnded(hit.reason, hit.shape.finish(hit.reason, hit.entry, done=False))


FAULT = NoDone

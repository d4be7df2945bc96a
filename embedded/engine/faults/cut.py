"""A plain answer has written nothing when the fault acts. The nearest equivalents: `fin` and `rst` send the text so far
without the body's last byte; `clean_end` sends that text with finish_reason "stop"; `abort` sends it with "abort"; both
errors are a 500. An API without [DONE] omits its last line, and `error` equals `error_without_done`.
"""

from dataclasses import dataclass

from embedded.engine.fault import AnswerEnded, Fault, Hit
from embedded.engine.parameters import one_of, tokens


@dataclass(kw_only=True)
class Cut(Fault):
    """After `after_tokens` tokens an answer ends improperly: `how` is one of fin (end of file, the framing unfinished),
    rst (TCP RST), clean_end (the framing finished, no finish_reason, no [DONE]), error (an error in the stream, then
    [DONE]), error_without_done, abort (finish_reason "abort" and [DONE], as vLLM sometimes does at SIGTERM).
    """

    after_tokens: int = tokens(1)
    how: str = one_of("fin", "rst", "clean_end", "error", "error_without_done", "abort")

    def reason_with(self, position: int) -> str | None:
        return "abort" if self.how == "abort" and position + 1 == self.after_tokens else None

    async def before(self, hit: Hit, position: int) -> None:
        if position != self.after_tokens:
            return
        hit.mark()
        if self.how == "abort":
            raise AnswerEnded("abort", hit.shape.finish("abort", hit.entry))
        if self.how == "clean_end":
            raise AnswerEnded("cut", hit.shape.end_without_reason(hit.entry))
        if self.how in ("fin", "rst"):
            written_at = hit.shape.leave_unfinished(hit.entry)
            if self.how == "rst":
                hit.reply.reset()
            raise AnswerEnded("cut", written_at)
        if not hit.reply.opened:
            hit.refuse(hit.refusals.failed())
        hit.shape.refuse(hit.encode(hit.refusals.failed()), done=self.how == "error")
        raise AnswerEnded("cut")


FAULT = Cut

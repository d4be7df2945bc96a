"""An answer in one piece has written nothing when the fault strikes. What comes nearest there: `fin` and `rst` announce
the text so far and leave out the body's last byte; `clean_end` is that text with finish_reason "stop"; `abort` is it with
"abort"; both errors are a 500. An API without [DONE] leaves out its last line, where `error` is `error_without_done`.
"""

from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit, Over
from embedded.engine.parameters import one_of, tokens


@dataclass(kw_only=True)
class Cut(Fault):
    """After so many tokens an answer ends as it should not: `how` is one of fin (end of file, the framing unfinished),
    rst (TCP RST), clean_end (the framing finished, no finish_reason, no [DONE]), error (an error in the stream, then
    [DONE]), error_without_done, abort (finish_reason "abort" and [DONE], as vLLM does at times at SIGTERM).
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
            raise Over("abort", hit.shape.finish("abort", hit.entry))
        if self.how == "clean_end":
            raise Over("cut", hit.shape.trail_off(hit.entry))
        if self.how in ("fin", "rst"):
            written_at = hit.shape.break_off(hit.entry)
            if self.how == "rst":
                hit.reply.reset()
            raise Over("cut", written_at)
        if not hit.reply.opened:
            hit.refuse(hit.voice.failed())
        hit.shape.refuse(hit.said(hit.voice.failed()), done=self.how == "error")
        raise Over("cut")


FAULT = Cut

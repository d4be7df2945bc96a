from dataclasses import dataclass

from embedded.engine.fault import AnswerEnded, Fault, Hit


@dataclass(kw_only=True)
class ResetBeforeHeaders(Fault):
    """The connection is reset (TCP RST) once the request has been read, before any byte of an answer."""

    async def on_request(self, hit: Hit) -> None:
        hit.mark()
        hit.reply.reset()
        raise AnswerEnded("reset")


FAULT = ResetBeforeHeaders

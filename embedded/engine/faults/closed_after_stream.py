from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit


@dataclass(kw_only=True)
class ClosedAfterStream(Fault):
    """A stream is whole, its headers promise to keep the connection, and the connection is closed at once, as llama.cpp does
    it; a gateway that sends its next request on it meets an error. Plain answers are left alone. For a whole engine there is
    --after-stream close.
    """

    async def at_door(self, hit: Hit) -> None:
        if hit.completion is not None and hit.completion.stream:
            hit.mark()
            hit.reply.closes_after_stream = True


FAULT = ClosedAfterStream

from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit


@dataclass(kw_only=True)
class ClosedAfterStream(Fault):
    """A stream is complete and its headers announce keep-alive, but the connection is closed right after it, as with
    llama.cpp; a gateway that sends its next request on it gets an error. Plain answers are not affected. For a whole
    engine, use --after-stream close.
    """

    async def on_request(self, hit: Hit) -> None:
        if hit.completion is not None and hit.completion.stream:
            hit.mark()
            hit.reply.closes_after_stream = True


FAULT = ClosedAfterStream

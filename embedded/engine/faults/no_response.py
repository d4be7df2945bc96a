from dataclasses import dataclass

from embedded.engine.fault import AnswerEnded, Fault, Hit


@dataclass(kw_only=True)
class NoResponse(Fault):
    """Requests are accepted and read but not answered; when the fault ends, the held ones are closed without a byte."""

    async def on_request(self, hit: Hit) -> None:
        await hit.hold()
        raise AnswerEnded("no_response")


FAULT = NoResponse

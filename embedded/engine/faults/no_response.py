from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit, Over


@dataclass(kw_only=True)
class NoResponse(Fault):
    """Requests are accepted, read and not answered; when the fault ends, those still held are hung up on without a byte."""

    async def at_door(self, hit: Hit) -> None:
        await hit.hold()
        raise Over("no_response")


FAULT = NoResponse

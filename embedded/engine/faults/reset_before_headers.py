from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit, Over


@dataclass(kw_only=True)
class ResetBeforeHeaders(Fault):
    """The connection is reset (TCP RST) as soon as the request was read, before any byte of an answer."""

    async def at_door(self, hit: Hit) -> None:
        hit.mark()
        hit.reply.reset()
        raise Over("reset")


FAULT = ResetBeforeHeaders

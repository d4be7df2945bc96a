import json
from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import one_of, seconds_or_none, tokens

_DELTA = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
_PINGS = {
    "comment": b": ping\n\n",
    "data": b"data: ping\n\n",
    "delta": b"data: %b\n\n" % json.dumps(_DELTA).encode(),
    "newline": b"\n",
}


@dataclass(kw_only=True)
class Stall(Fault):
    """After `after_tokens` tokens an answer stalls until the fault ends; then it continues at its usual pace. A stream may
    ping meanwhile: `ping` is one of comment, data (`data: ping`), delta (an empty one), newline.
    """

    after_tokens: int = tokens(1)
    ping_every_s: float | None = seconds_or_none()
    ping: str = one_of(*_PINGS)

    async def before(self, hit: Hit, position: int) -> None:
        if position != self.after_tokens:
            return
        while self.ping_every_s and hit.reply.opened and hit.active.is_set:
            await hit.hold(self.ping_every_s)
            if hit.active.is_set:
                hit.reply.send(_PINGS[self.ping])
        hit.due.resume(await hit.hold())


FAULT = Stall

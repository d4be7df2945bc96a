"""A mend is verified by a real answer: one question, straight to the tier, or to the gateway where that was taken away."""

import uuid
from collections.abc import Iterable

from chaos.probe import PROMPT
from chaos.wire import Connection, Deadlines
from contract.caps import Use, advice, cap
from contract.clock import Clock
from contract.endpoint import Endpoint
from contract.outcome import fill
from contract.records import GATEWAY, Ask, Outcome
from contract.topology import Topology

CONNECT_S = 2.0


class Answers:
    """Of the targets that faults are made on. Raises Refusal at once where a key or a certificate is wrong: no mend may
    stumble over it later."""

    def __init__(self, topology: Topology, targets: Iterable[str], clock: Clock) -> None:
        self._topology, self._clock = topology, clock
        self._endpoints = {name: self._endpoint(name) for name in targets}

    def missing(self, target: str, patience_s: float) -> str | None:
        """What the answer lacks, in words. None: a whole one came, or the tier cannot be asked from here.

        Of the gateway: a whole answer through it, by whichever tier.
        """
        endpoint = self._endpoints[target]
        if endpoint is None:
            return None
        most = cap(self._topology, Use.PROBE, target)
        ask = Ask(
            request_id=f"ask-{uuid.uuid4().hex[:12]}", scenario="verify", lane="verify", via=target, stream=False,
            intended_at=self._clock.now(), max_tokens=most,
        )  # fmt: skip
        connection = Connection(
            endpoint, Deadlines(connect=min(CONNECT_S, patience_s), silence=patience_s, whole=patience_s)
        )
        ignore_eos = target != GATEWAY and self._topology.tier(target).ignore_eos
        exchange = connection.exchange(endpoint.request(ask.request_id, PROMPT, most, False, ignore_eos))
        connection.close()
        fill(ask, exchange, self._clock.at, self._topology, secrets=endpoint.secrets)
        if ask.outcome == Outcome.OK:
            return None
        helps = advice(ask.error)
        right = f" ({helps} of {target})" if helps else ""
        return f"{target} does not answer: {ask.outcome}: {ask.error}{right}"

    def _endpoint(self, target: str) -> Endpoint | None:
        if target == GATEWAY:
            return Endpoint.of_gateway(self._topology.gateway)
        return Endpoint.of_tier(self._topology.tier(target))

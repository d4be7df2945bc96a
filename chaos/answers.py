"""A mend is verified by a real answer: one question, straight to the tier."""

import uuid

from chaos.probe import PROMPT
from chaos.wire import Connection, Deadlines
from contract.clock import Clock
from contract.endpoint import Endpoint
from contract.outcome import fill
from contract.records import Ask, Outcome
from contract.topology import Tier, Topology

CONNECT_S = 2.0


class Answers:
    """Of the tiers that faults are made on. Raises Refusal at once where a key or a certificate is wrong: no mend may
    stumble over it later."""

    def __init__(self, topology: Topology, tiers: list[Tier], clock: Clock) -> None:
        self._topology, self._clock = topology, clock
        self._endpoints = {tier.name: Endpoint.of_tier(tier) for tier in tiers}

    def missing(self, tier: Tier, patience_s: float) -> str | None:
        """What the answer lacks, in words. None: a whole one came, or the tier cannot be asked from here."""
        endpoint = self._endpoints[tier.name]
        if endpoint is None:
            return None
        ask = Ask(
            request_id=f"ask-{uuid.uuid4().hex[:12]}", scenario="verify", lane="verify", via=tier.name, stream=False,
            intended_at=self._clock.now(), max_tokens=1,
        )  # fmt: skip
        connection = Connection(
            endpoint, Deadlines(connect=min(CONNECT_S, patience_s), silence=patience_s, whole=patience_s)
        )
        exchange = connection.exchange(endpoint.request(ask.request_id, PROMPT, 1, False, tier.ignore_eos))
        connection.close()
        fill(ask, exchange, self._clock.at, self._topology)
        return (
            None if ask.outcome == Outcome.OK else f"{tier.name} does not answer: {ask.outcome}: {ask.error}"
        )

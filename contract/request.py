"""A request before it is sent: one value from a scenario, the probe or a plan to the wire. Pure.

Observations are in its record (`records.RequestRecord`), which `outcome.fill` writes.
"""

from dataclasses import dataclass, replace

from contract.caps import Use, cap
from contract.classification import Classification
from contract.proper_end import ProperEnd
from contract.records import GATEWAY, Lane, RequestRecord
from contract.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Without a proper end of its own, the prompt's answer must be longer than the cap."""

    prompt: str
    stream: bool
    use: Use = Use.USERS
    via: str | None = None  # GATEWAY, or the tier that it is sent to; None: as the users of the run
    model: str | None = None  # another of the gateway's groups
    lane: str = Lane.LOAD
    pair: str | None = None
    scheduled_at: float | None = None  # unix seconds; None: as soon as possible
    max_tokens: int | None = None  # None: the topology's cap for this use
    capped: bool = True  # False: no cap is sent, and the model ends the answer
    ignore_eos: bool = False
    history: tuple[tuple[str, str], ...] = ()  # (role, content) of the messages before the prompt
    temperature: float | None = None  # None: the server's default
    # None: the cap, unless the topology sets `witness: none` for the serving tier.
    proper_end: ProperEnd | None = None
    classification: Classification | None = None

    def on(self, topology: Topology, via: str = GATEWAY) -> "Request":
        """The request with all settings of the topology. `via`: where the run sends its users.

        `ignore_eos` is sent on direct requests only: behind the gateway a cloud tier would refuse the unknown parameter.
        """
        via = self.via or via
        most = self.max_tokens
        if most is None and self.capped:
            most = cap(topology, self.use, via)
        ignore_eos = self.capped and via != GATEWAY and topology.tier(via).ignore_eos
        return replace(self, via=via, max_tokens=most if self.capped else None, ignore_eos=ignore_eos)

    def record(self, request_id: str, scenario: str, now: float, worker: str | None = None) -> RequestRecord:
        """Its record before any observation. `now`: unix seconds, used if it has no `scheduled_at`."""
        assert self.via is not None, "a request is recorded after `on`"
        of = self.classification
        return RequestRecord(
            request_id=request_id, scenario=scenario, lane=self.lane, via=self.via, stream=self.stream,
            scheduled_at=now if self.scheduled_at is None else self.scheduled_at, max_tokens=self.max_tokens,
            pair=self.pair, worker=worker, document=of.document.id if of else None, attempt=of.attempt if of else None,
        )  # fmt: skip

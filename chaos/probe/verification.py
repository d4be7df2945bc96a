"""Verifies a restore by an answer of the tier itself, or of the gateway where the gateway was the target.

An engine may load its model at the first request, and stop loading when the client disconnects. So one request waits for
as long as the restore may take. Besides, a fresh request is sent at growing intervals, since the first may have been lost.
"""

import queue
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chaos.errors import NotYet
from chaos.probe.wire import Connection
from chaos.retry import Seen
from contract.caps import Use, advice
from contract.clock import Clock
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.outcome import fill
from contract.prompt import COUNT_UPWARDS
from contract.records import GATEWAY, Outcome
from contract.request import Request
from contract.topology import Topology

CONNECT_S = 2.0
# After this time a fresh request is sent beside the first; later ones at growing intervals.
FRESH_AFTER_S = 20.0
FRESH_PATIENCE_S = 20.0
LOOK_S = 0.05  # how long one `look` waits for an answer

Send = Callable[[float], str | None]
"""Sends one request with so many seconds of patience. Returns None after a whole answer, otherwise what is missing."""


class Answers:
    """Requests to the targets of faults. Raises Refusal at once for a wrong key or certificate: it would fail a restore later."""

    def __init__(self, topology: Topology, targets: Iterable[str], clock: Clock) -> None:
        self._topology, self._clock = topology, clock
        self._endpoints = {name: self._endpoint(name) for name in targets}

    def missing(self, target: str, patience_s: float) -> str | None:
        """What the answer lacks. None: the answer was whole, or no request can be sent to the tier from here.

        For the gateway: a whole answer through it, by any tier.
        """
        endpoint = self._endpoints[target]
        return None if endpoint is None else self._sent(endpoint, target, patience_s)

    def question(self, target: str, within_s: float) -> "Question | Unknown":
        """For the verification of a restore that may take so many seconds more."""
        endpoint = self._endpoints[target]
        if endpoint is None:
            return Unknown(f"the topology gives {target} no url")
        return Question(lambda patience_s: self._sent(endpoint, target, patience_s), self._clock, within_s)

    def _sent(self, endpoint: Endpoint, target: str, patience_s: float) -> str | None:
        request = Request(prompt=COUNT_UPWARDS, stream=False, use=Use.PROBE, via=target, lane="verify").on(
            self._topology
        )
        record = request.record(f"req-{uuid.uuid4().hex[:12]}", "verify", self._clock.now())
        deadlines = Deadlines(min(CONNECT_S, patience_s), patience_s, patience_s, patience_s)
        connection = Connection(endpoint, deadlines)
        exchange = connection.exchange(endpoint.request(record.request_id, request))
        connection.close()
        fill(record, request, exchange, self._clock.at, self._topology, endpoint.secrets)
        if record.outcome == Outcome.OK:
            return None
        helps = advice(record.error)
        right = f" ({helps} of {target})" if helps else ""
        return f"{target} does not answer: {record.outcome}: {record.error}{right}"

    def _endpoint(self, target: str) -> Endpoint | None:
        if target == GATEWAY:
            return Endpoint.of_gateway(self._topology.gateway)
        return Endpoint.of_tier(self._topology.tier(target))


@dataclass(frozen=True, slots=True)
class Unknown:
    """No request can be sent, and why."""

    why: str

    def look(self) -> Seen:
        return {"answered": "unknown", "unanswered": self.why}


class Question:
    """One request that keeps waiting, and fresh ones beside it: at most two at a time."""

    def __init__(self, send: Send, clock: Clock, within_s: float) -> None:
        self._send, self._clock = send, clock
        self._over_at = clock.now() + within_s
        self._ended: queue.Queue[tuple[str, str | None]] = queue.Queue()
        self._since: dict[str, float] = {}  # requests in flight, and since when
        self._patience_s = FRESH_PATIENCE_S
        self._fresh_at = clock.now() + FRESH_AFTER_S
        self._why = "no answer yet"

    def look(self) -> Seen:
        """Raises NotYet with what the last answer lacked, and how long the current request has waited."""
        now = self._clock.now()
        if "waiting" not in self._since:
            self._start("waiting", max(FRESH_PATIENCE_S, self._over_at - now))
        elif now >= self._fresh_at and "fresh" not in self._since:
            self._start("fresh", self._patience_s)
            self._fresh_at = now + 2 * self._patience_s
            self._patience_s *= 2
        try:
            which, missing = self._ended.get(timeout=LOOK_S)
        except queue.Empty:
            raise NotYet(self._missing(now)) from None
        self._since.pop(which)
        if missing is None:
            return {"answered": "yes"}
        self._why = missing
        raise NotYet(self._missing(now))

    def _start(self, which: str, patience_s: float) -> None:
        self._since[which] = self._clock.now()

        def send() -> None:
            try:
                missing = self._send(patience_s)
            except Exception as e:  # a bug must not look like a request that waits for ever
                missing = f"{type(e).__name__}: {e}"
            self._ended.put((which, missing))

        threading.Thread(target=send, name=f"verify, {which}", daemon=True).start()

    def _missing(self, now: float) -> str:
        waits_s = max((now - since for since in self._since.values()), default=0.0)
        if waits_s < 1.0:
            return self._why
        return f"{self._why}; a request has waited {waits_s:.0f} s"

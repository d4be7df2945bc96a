"""Sends one request of the watch, on its own connection, as curl in a loop would, and returns the text of its answer.

The text is only shown, and is not stored.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chaos.probe.wire import Connection
from contract.clock import Clock
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.foreign import without
from contract.framing import Exchange
from contract.outcome import fill, ours
from contract.printable import clean
from contract.records import RequestRecord
from contract.request import Request
from contract.stream import HAS_CONTENT, read_answer
from contract.topology import Topology

SCENARIO = "watch"


@dataclass(frozen=True, slots=True)
class Sender:
    endpoint: Endpoint
    topology: Topology
    prefix: str  # of the request ids
    request: Request
    deadlines: Deadlines
    clock: Clock

    def once(self, n: int, scheduled_at: float, begun: Callable[[], None]) -> tuple[RequestRecord, str]:
        """Returns its record and its text, also after an error. Neither has a secret or a control character.

        `begun` is called once, at the first token of a stream.
        """
        record = self.request.record(f"req-{self.prefix}-w{n:06x}", SCENARIO, scheduled_at)
        record.sent_at = self.clock.now()
        text = ""
        try:
            exchange = self._exchange(record, _Begin(begun))
            fill(record, self.request, exchange, self.clock.at, self.topology, self.endpoint.secrets)
            text = _text(exchange)
        except Exception as e:  # a bug; a thread that died would look like a request that waits
            ours(record, e)
        for field in ("error", "route_group", "route_api_base", "finish_reason"):
            value = getattr(record, field)
            setattr(record, field, value and self._shown(value))
        return record, self._shown(text)

    def _exchange(self, record: RequestRecord, begin: "_Begin") -> Exchange:
        connection = Connection(self.endpoint, self.deadlines, begin.on_data)
        try:
            return connection.exchange(self.endpoint.request(record.request_id, self.request))
        finally:
            connection.close()

    def _shown(self, text: str) -> str:
        return clean(without(self.endpoint.secrets, text))


@dataclass(slots=True)
class _Begin:
    """Detects the first token while an answer is still arriving; the answer is judged at its end."""

    begun: Callable[[], None]
    seen: bool = False

    def on_data(self, exchange: Exchange) -> None:
        if self.seen or exchange.status != 200 or exchange.end is not None:
            return
        self.seen = HAS_CONTENT.search(b"".join([piece for _, piece in exchange.pieces])) is not None
        if self.seen:
            self.begun()


def _text(exchange: Exchange) -> str:
    return "".join(read_answer(exchange, text=True).text or []) if exchange.status == 200 else ""

"""One request, from its schedule to its one record, whatever happens to it. Knows nothing of Locust."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from gevent import GreenletExit

from contract import gateway_version
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import End, Exchange
from contract.outcome import fill, ours
from contract.records import GATEWAY, RequestRecord
from contract.request import Request
from scenarios.gateway.user_context import Stage
from scenarios.gateway.wire.exchange import Connection

log = logging.getLogger(__name__)


class Sender:
    """Sends the requests of one scenario, over kept connections of its own. `tell` gets each record, and the body's bytes.

    `headers`: those of the latest response, names in lower case; none where none came. `deadlines`: its own in place of
    the run's.
    """

    def __init__(
        self,
        stage: Stage,
        scenario: str,
        tell: Callable[[RequestRecord, int], None],
        deadlines: Deadlines | None = None,
    ) -> None:
        self._stage, self._scenario, self._tell, self._deadlines = stage, scenario, tell, deadlines
        self.headers: Mapping[str, str] = {}
        self._connections: dict[str, Connection] = {}

    def send(self, request: Request) -> RequestRecord:
        """Send it once; its record, whatever becomes of it."""
        stage = self._stage
        self.headers = {}
        request = replace(request, via=request.via or stage.via)
        record = request.record(stage.next_request_id(), self._scenario, stage.clock.now(), stage.worker)
        tally = stage.recorder.tally
        tally.began(arrived=request.scheduled_at is not None)
        exchange: Exchange | None = None
        endpoint: Endpoint | None = None
        connection: Connection | None = None
        try:
            request = request.on(stage.topology)
            record.max_tokens = request.max_tokens
            endpoint = self._endpoint(record.via)
            connection = self._connection(record.via, endpoint)
            exchange = connection.exchange(
                endpoint.request(record.request_id, request), self._deadlines or stage.deadlines,
                lambda at: tally.sent_late(stage.clock.at(at) - record.scheduled_at),
            )  # fmt: skip
            self.headers = exchange.headers
            tally.named(
                gateway_version.named(
                    stage.topology.gateway.of_kind, record.via, exchange.status, exchange.headers
                )
            )
            fill(record, request, exchange, stage.clock.at, stage.topology, endpoint.secrets)
            return record
        except GreenletExit:  # the run ends, and we stop waiting
            exchange = connection.latest if connection else None
            try:
                secrets = endpoint.secrets if endpoint else ()
                fill(record, request, exchange or _unsent(), stage.clock.at, stage.topology, secrets)
            except Exception as e:  # the kill goes on all the same
                ours(record, e)
            raise
        except Exception as e:  # ours; the request has its record all the same
            ours(record, e)
            self.close()  # nobody knows in which state a connection was left
            raise
        finally:
            stage.recorder.keep(record)
            self._tell_of(record, exchange)

    def close(self) -> None:
        """Safe to call twice."""
        for connection in self._connections.values():
            connection.close()

    def _tell_of(self, record: RequestRecord, exchange: Exchange | None) -> None:
        """What goes wrong in the telling takes nothing from the record, and must not take the place of a kill."""
        try:
            self._tell(record, sum(len(piece) for _, piece in exchange.pieces) if exchange else 0)
        except Exception:
            log.exception("%s has its record, but could not be told of", record.request_id)

    def _endpoint(self, via: str) -> Endpoint:
        endpoint = self._stage.gateway if via == GATEWAY else self._stage.tiers[via]
        assert endpoint is not None, f"{via} has no url"
        return endpoint

    def _connection(self, via: str, endpoint: Endpoint) -> Connection:
        if via not in self._connections:
            self._connections[via] = Connection(endpoint, self._stage.watchdog)
        return self._connections[via]


def _unsent() -> Exchange:
    return Exchange(end=End.STOPPED, error="stopped before it was sent")

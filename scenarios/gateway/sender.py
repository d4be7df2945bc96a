"""Sends one request and stores exactly one record, whatever the outcome. Independent of Locust."""

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
from scenarios.gateway.user_context import UserContext
from scenarios.gateway.wire.exchange import Connection

log = logging.getLogger(__name__)


class Sender:
    """Sends the requests of one scenario, over its own kept connections. `report` gets each record and the body size in bytes.

    `headers`: of the latest response, names in lower case; empty if there was no response. `deadlines`: replace the
    run's.
    """

    def __init__(
        self,
        user_context: UserContext,
        scenario: str,
        report: Callable[[RequestRecord, int], None],
        deadlines: Deadlines | None = None,
    ) -> None:
        self._user_context, self._scenario, self._report, self._deadlines = (
            user_context,
            scenario,
            report,
            deadlines,
        )
        self.headers: Mapping[str, str] = {}
        self._connections: dict[str, Connection] = {}

    def send(self, request: Request) -> RequestRecord:
        """Send the request once. Returns its record, whatever the outcome."""
        user_context = self._user_context
        self.headers = {}
        request = replace(request, via=request.via or user_context.via)
        record = request.record(
            user_context.next_request_id(), self._scenario, user_context.clock.now(), user_context.worker
        )
        tally = user_context.recorder.tally
        tally.began(arrived=request.scheduled_at is not None)
        exchange: Exchange | None = None
        endpoint: Endpoint | None = None
        connection: Connection | None = None
        try:
            request = request.on(user_context.topology)
            record.max_tokens = request.max_tokens
            endpoint = self._endpoint(record.via)
            connection = self._connection(record.via, endpoint)
            exchange = connection.exchange(
                endpoint.request(record.request_id, request), self._deadlines or user_context.deadlines,
                lambda at: tally.sent_late(user_context.clock.at(at) - record.scheduled_at),
            )  # fmt: skip
            self.headers = exchange.headers
            tally.named(
                gateway_version.named(
                    user_context.topology.gateway.of_kind, record.via, exchange.status, exchange.headers
                )
            )
            fill(record, request, exchange, user_context.clock.at, user_context.topology, endpoint.secrets)
            return record
        except GreenletExit:  # the run ends: stop waiting
            exchange = connection.latest if connection else None
            try:
                secrets = endpoint.secrets if endpoint else ()
                fill(
                    record,
                    request,
                    exchange or _unsent(),
                    user_context.clock.at,
                    user_context.topology,
                    secrets,
                )
            except Exception as e:  # the kill must still be raised
                ours(record, e)
            raise
        except Exception as e:  # our bug; the request still has its record
            ours(record, e)
            self.close()  # the state of its connections is unknown
            raise
        finally:
            user_context.recorder.keep(record)
            self._report_record(record, exchange)

    def close(self) -> None:
        """Safe to call twice."""
        for connection in self._connections.values():
            connection.close()

    def _report_record(self, record: RequestRecord, exchange: Exchange | None) -> None:
        """An error in `report` must not lose the record or replace a kill."""
        try:
            self._report(record, sum(len(piece) for _, piece in exchange.pieces) if exchange else 0)
        except Exception:
            log.exception("%s has its record, but could not be reported to Locust", record.request_id)

    def _endpoint(self, via: str) -> Endpoint:
        endpoint = self._user_context.gateway if via == GATEWAY else self._user_context.tiers[via]
        assert endpoint is not None, f"{via} has no url"
        return endpoint

    def _connection(self, via: str, endpoint: Endpoint) -> Connection:
        if via not in self._connections:
            self._connections[via] = Connection(endpoint, self._user_context.watchdog)
        return self._connections[via]


def _unsent() -> Exchange:
    return Exchange(end=End.STOPPED, error="stopped before it was sent")

"""One ask, from its intent to its one record, whatever happens to it. Knows nothing of Locust."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

from gevent import GreenletExit

from contract.endpoint import Endpoint
from contract.framing import End, Exchange
from contract.outcome import fill, ours
from contract.proper_end import ProperEnd
from contract.records import GATEWAY, Ask, Lane
from scenarios.gateway.stage import Stage
from scenarios.gateway.wire import Connection

log = logging.getLogger(__name__)


class Asker:
    """Asks for one scenario, over kept connections of its own. `tell` gets each record, and the body's bytes."""

    def __init__(self, stage: Stage, scenario: str, tell: Callable[[Ask, int], None]) -> None:
        self._stage, self._scenario, self._tell = stage, scenario, tell
        self._connections: dict[str, Connection] = {}

    def ask(
        self,
        prompt: str,
        *,
        stream: bool,
        via: str = GATEWAY,
        model: str | None = None,
        lane: Lane = Lane.LOAD,
        pair: str | None = None,
        intended_at: float | None = None,
        max_tokens: int | None = None,
        system: str | None = None,
        schema: Mapping[str, Any] | None = None,
        proper_end: ProperEnd | None = None,
    ) -> Ask:
        """Ask once. Without a proper end of its own the prompt must call for more than the cap allows.

        `model`: another of the gateway's groups. `max_tokens`: the run's cap where none is given. `schema`: of JSON,
        which the answer must follow.
        """
        stage = self._stage
        ask = Ask(
            request_id=stage.next_request_id(), scenario=self._scenario, lane=lane, via=via, stream=stream,
            intended_at=stage.clock.now() if intended_at is None else intended_at,
            max_tokens=stage.max_tokens if max_tokens is None else max_tokens,
            pair=pair, worker=stage.worker,
        )  # fmt: skip
        tally = stage.recorder.tally
        tally.began(arrived=intended_at is not None)
        exchange: Exchange | None = None
        connection: Connection | None = None
        try:
            endpoint = self._endpoint(via, model)
            connection = self._connection(via, endpoint)
            request = endpoint.request(
                ask.request_id, prompt, ask.max_tokens, stream, self._ignore_eos(via), system, schema
            )
            exchange = connection.exchange(
                request, stage.deadlines, lambda at: tally.sent(stage.clock.at(at) - ask.intended_at)
            )
            fill(ask, exchange, stage.clock.at, stage.topology, proper_end)
            return ask
        except GreenletExit:  # the run ends, and we stop waiting
            exchange = connection.latest if connection else None
            try:
                fill(ask, exchange or _unsent(), stage.clock.at, stage.topology, proper_end)
            except Exception as e:  # the kill goes on all the same
                ours(ask, e)
            raise
        except Exception as e:  # ours; the ask has its record all the same
            ours(ask, e)
            self.close()  # nobody knows in which state a connection was left
            raise
        finally:
            stage.recorder.keep(ask)
            self._tell_of(ask, exchange)

    def close(self) -> None:
        """Safe to call twice."""
        for connection in self._connections.values():
            connection.close()

    def _tell_of(self, ask: Ask, exchange: Exchange | None) -> None:
        """What goes wrong in the telling takes nothing from the record, and must not take the place of a kill."""
        try:
            self._tell(ask, sum(len(piece) for _, piece in exchange.pieces) if exchange else 0)
        except Exception:
            log.exception("%s has its record, but could not be told of", ask.request_id)

    def _endpoint(self, via: str, model: str | None) -> Endpoint:
        endpoint = self._stage.gateway if via == GATEWAY else self._stage.tiers[via]
        assert endpoint is not None, f"{via} has no url"
        return endpoint if model is None else dataclasses.replace(endpoint, model=model)

    def _connection(self, via: str, endpoint: Endpoint) -> Connection:
        if via not in self._connections:
            self._connections[via] = Connection(endpoint, self._stage.watchdog)
        return self._connections[via]

    def _ignore_eos(self, via: str) -> bool:
        """On direct asks only: behind the gateway a cloud tier would refuse the unknown parameter."""
        return via != GATEWAY and self._stage.topology.tier(via).ignore_eos


def _unsent() -> Exchange:
    return Exchange(end=End.STOPPED, error="stopped before it was sent")

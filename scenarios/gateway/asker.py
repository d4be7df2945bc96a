"""One ask, from its intent to its one record, whatever happens to it. Knows nothing of Locust."""

import dataclasses
import logging
from collections.abc import Callable, Mapping

from gevent import GreenletExit

from contract import gateway_version
from contract.caps import Use, cap
from contract.classification import Classification
from contract.endpoint import Endpoint
from contract.framing import End, Exchange
from contract.outcome import fill, ours
from contract.proper_end import ProperEnd
from contract.records import GATEWAY, Ask, Lane
from scenarios.gateway.deadlines import Deadlines
from scenarios.gateway.stage import Stage
from scenarios.gateway.wire import Connection

log = logging.getLogger(__name__)


class Asker:
    """Asks for one scenario, over kept connections of its own. `tell` gets each record, and the body's bytes.

    `headers`: those of the latest response, names in lower case; none where none came. `deadlines`: its own in place of
    the run's.
    """

    def __init__(
        self,
        stage: Stage,
        scenario: str,
        tell: Callable[[Ask, int], None],
        deadlines: Deadlines | None = None,
    ) -> None:
        self._stage, self._scenario, self._tell, self._deadlines = stage, scenario, tell, deadlines
        self.headers: Mapping[str, str] = {}
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
        capped: bool = True,
        system: str | None = None,
        temperature: float | None = None,
        proper_end: ProperEnd | None = None,
        classification: Classification | None = None,
    ) -> Ask:
        """Ask once. Without a proper end of its own the prompt must call for more than the cap allows.

        `model`: another of the gateway's groups. `max_tokens`: the topology's cap where none is given. `capped`: without a
        cap the answer ends where it chooses, and nobody asks an engine to go on.
        """
        stage = self._stage
        self.headers = {}
        if capped and max_tokens is None:
            max_tokens = cap(stage.topology, Use.USERS, via)
        ask = Ask(
            request_id=stage.next_request_id(), scenario=self._scenario, lane=lane, via=via, stream=stream,
            intended_at=stage.clock.now() if intended_at is None else intended_at,
            max_tokens=max_tokens if capped else None, pair=pair, worker=stage.worker,
            document=classification.document.id if classification else None,
            attempt=classification.attempt if classification else None,
        )  # fmt: skip
        tally = stage.recorder.tally
        tally.began(arrived=intended_at is not None)
        exchange: Exchange | None = None
        endpoint: Endpoint | None = None
        connection: Connection | None = None
        try:
            endpoint = self._endpoint(via, model)
            connection = self._connection(via, endpoint)
            request = endpoint.request(
                ask.request_id,
                prompt,
                ask.max_tokens,
                stream,
                capped and self._ignore_eos(via),
                system,
                temperature,
            )
            exchange = connection.exchange(
                request, self._deadlines or stage.deadlines,
                lambda at: tally.sent(stage.clock.at(at) - ask.intended_at),
            )  # fmt: skip
            self.headers = exchange.headers
            tally.named(gateway_version.named(via, exchange.status, exchange.headers))
            fill(
                ask, exchange, stage.clock.at, stage.topology, proper_end, classification, endpoint.secrets
            )  # fmt: skip
            return ask
        except GreenletExit:  # the run ends, and we stop waiting
            exchange = connection.latest if connection else None
            try:
                secrets = endpoint.secrets if endpoint else ()
                fill(
                    ask, exchange or _unsent(), stage.clock.at, stage.topology, proper_end, classification, secrets
                )  # fmt: skip
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

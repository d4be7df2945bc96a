"""The Locust user that every scenario is made of: requests, has each request recorded once, and tells Locust of it."""

import argparse
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import gevent
from locust import User
from locust.exception import StopUser

from contract.deadlines import Deadlines
from contract.records import GATEWAY, Outcome, RequestRecord
from contract.request import Request
from scenarios.gateway.arrivals import Arrival
from scenarios.gateway.sender import Sender
from scenarios.gateway.user_context import Stage

_STAGE_S = 90.0


class OutcomeError(Exception):
    """How Locust's statistics are told of a request that was not answered well."""

    def __init__(self, outcome: str, error: str | None) -> None:
        super().__init__(f"{outcome}: {error}" if error else outcome)
        self.outcome, self.error = outcome, error


class GatewayUser(User):
    """Scenarios give `scenario`, their name in the records, and tasks that call `send`.

    Locust has a user do his tasks again and again (a closed loop); the open loop has him do one for each arrival.
    """

    abstract = True
    scenario: ClassVar[str]
    by_default: ClassVar[bool] = True  # in a run for which neither --scenarios nor the timeline names any
    # No person waits for a first token: an objective for TTFT does not bind it.
    unattended: ClassVar[bool] = False
    deadlines: ClassVar[Deadlines | None] = None  # the scenario's own in place of the run's
    arguments: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # its options: name → what `add_argument` takes

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.stage = _stage_of(environment)
        self.random = self.stage.random_of_next(self.scenario)
        self._sender = Sender(self.stage, self.scenario, self._tell, self.deadlines)
        self._killed = False
        self._arrival: Arrival | None = None
        self._scheduled_at: float | None = None

    @classmethod
    def read(cls, options: argparse.Namespace) -> Any:
        """What it needs for a run besides its stage (see `Stage.shared`), read before anything is touched; each worker reads
        it too. Raises Refusal."""
        return None

    def arrive(self, arrival: Arrival, scheduled_at: float, drawn: random.Random) -> None:
        """Do one task, whose first request was scheduled for this instant, and whatever is drawn for it is drawn here."""
        self._arrival, self._scheduled_at, self.random = arrival, scheduled_at, drawn
        drawn.choice(self.tasks)(self)

    def prompt_tokens(self, own: int) -> int:
        """How long the prompt is to be: as the scenario has it, or as the trace that is replayed."""
        told = self._arrival.prompt_tokens if self._arrival else None
        return own if told is None else told

    def send(self, request: Request) -> RequestRecord:
        """See `Sender.send`. An arrival says when its first request was scheduled, and what a trace says of its length."""
        if self._killed:
            raise StopUser
        # What follows is scheduled when its turn comes.
        scheduled_at, self._scheduled_at = self._scheduled_at, None
        request = replace(request, scheduled_at=scheduled_at)
        if self._arrival is not None and self._arrival.output_tokens is not None:
            request = replace(request, max_tokens=self._arrival.output_tokens)
        return self._sender.send(request)

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the latest response; names in lower case."""
        return self._sender.headers

    def stop(self, force: bool = False) -> bool:
        """Locust kills a user whom it sees waiting. One whose wait ends in that same turn would begin a request first,
        for it to be cut off at once: it begins none."""
        self._killed = True
        killed = bool(super().stop(force))
        self._killed = killed
        return killed

    def on_stop(self) -> None:
        self._sender.close()

    def _tell(self, record: RequestRecord, body_bytes: int) -> None:
        """One event of Locust's for each request, so that its totals count requests and nothing else.

        A time to first token has a row of its own, of type TTFT, which no total contains: `RequestStats.log_request`
        adds to both. A worker sends its rows and its total to the master apart from each other.
        """
        ok = record.outcome == Outcome.OK
        self.environment.events.request.fire(
            request_type=self.scenario, name=name(record), response_time=record.latency_ms, response_length=body_bytes,
            exception=None if ok else OutcomeError(str(record.outcome), record.error), context={},
        )  # fmt: skip
        if record.stream and record.ttft_ms is not None:
            self.environment.stats.get(name(record), "TTFT").log(record.ttft_ms, 0)


def _stage_of(environment: Any) -> Stage:
    """Set when the run opens. To a worker that joins one in its middle Locust may send users before its stage came."""
    with gevent.Timeout(_STAGE_S, AssertionError("environment.brownout is set when the run opens")):
        while not isinstance(stage := getattr(environment, "brownout", None), Stage):
            gevent.sleep(0.02)
    return stage


def name(record: RequestRecord) -> str:
    """`gateway → ollama`, `gateway → –` where nobody knows who served, `vllm direct`."""
    return f"gateway → {record.tier or '–'}" if record.via == GATEWAY else f"{record.via} direct"

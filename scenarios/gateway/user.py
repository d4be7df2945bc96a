"""The base class of every scenario's Locust user: sends requests, records each once, and reports each to Locust."""

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
from scenarios.gateway.error_kind import kind
from scenarios.gateway.sender import Sender
from scenarios.gateway.user_context import UserContext

_SETUP_S = 90.0


class OutcomeError(Exception):
    """Reports a failed request to Locust's statistics, by its kind: each different text is a row of its table."""

    def __init__(self, record: RequestRecord) -> None:
        super().__init__(kind(record))
        self.outcome, self.error = str(record.outcome), record.error


class GatewayUser(User):
    """Subclasses set `scenario`, their name in the records, and define tasks that call `send`.

    In a closed loop, Locust runs a user's tasks repeatedly. In an open loop, each arrival runs one task.
    """

    abstract = True
    scenario: ClassVar[str]
    by_default: ClassVar[bool] = True  # used if neither --scenarios nor the timeline names scenarios
    # Nobody waits for a first token, so objectives for TTFT do not apply.
    unattended: ClassVar[bool] = False
    deadlines: ClassVar[Deadlines | None] = None  # replace the run's deadlines
    arguments: ClassVar[
        Mapping[str, Mapping[str, Any]]
    ] = {}  # its options: name → arguments of `add_argument`

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.user_context = _user_context_of(environment)
        self.random = self.user_context.random_of_next(self.scenario)
        self._sender = Sender(self.user_context, self.scenario, self._report, self.deadlines)
        self._killed = False
        self._arrival: Arrival | None = None
        self._scheduled_at: float | None = None

    @classmethod
    def read(cls, options: argparse.Namespace) -> Any:
        """Input of the scenario (see `UserContext.shared`), read before the run changes anything; each worker reads it too.
        Raises Refusal."""
        return None

    def arrive(self, arrival: Arrival, scheduled_at: float, drawn: random.Random) -> None:
        """Run one task. Its first request was scheduled for `scheduled_at`; `drawn` replaces the user's random generator."""
        self._arrival, self._scheduled_at, self.random = arrival, scheduled_at, drawn
        drawn.choice(self.tasks)(self)

    def prompt_tokens(self, own: int) -> int:
        """Length of the prompt in tokens: `own`, or that of the replayed trace."""
        traced = self._arrival.prompt_tokens if self._arrival else None
        return own if traced is None else traced

    def send(self, request: Request) -> RequestRecord:
        """See `Sender.send`. An arrival sets the schedule of its first request, and the output length if a trace gives it."""
        if self._killed:
            raise StopUser
        # Later requests of the task are scheduled when they are sent.
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
        """Locust kills a waiting user. If its wait ended in the same turn of the hub, it would send a request that is cut at
        once; this flag prevents that."""
        self._killed = True
        killed = bool(super().stop(force))
        self._killed = killed
        return killed

    def on_stop(self) -> None:
        self._sender.close()

    def _report(self, record: RequestRecord, body_bytes: int) -> None:
        """Fire one Locust event per request, so that Locust's totals count requests only.

        The time to first token has a separate row of type TTFT that is in no total (`RequestStats.log_request` would add it
        to the total). A worker sends rows and totals to the master separately.
        """
        ok = record.outcome == Outcome.OK
        self.environment.events.request.fire(
            request_type=self.scenario, name=name(record), response_time=record.latency_ms, response_length=body_bytes,
            exception=None if ok else OutcomeError(record), context={},
        )  # fmt: skip
        if record.stream and record.ttft_ms is not None:
            self.environment.stats.get(name(record), "TTFT").log(record.ttft_ms, 0)


def _user_context_of(environment: Any) -> UserContext:
    """Set when the run opens. Locust may start users on a worker that joins late before its setup has arrived."""
    with gevent.Timeout(_SETUP_S, AssertionError("environment.brownout is set when the run opens")):
        while not isinstance(user_context := getattr(environment, "brownout", None), UserContext):
            gevent.sleep(0.02)
    return user_context


def name(record: RequestRecord) -> str:
    """`gateway → ollama`, `gateway → –` if the tier is unknown, `vllm direct`."""
    return f"gateway → {record.tier or '–'}" if record.via == GATEWAY else f"{record.via} direct"

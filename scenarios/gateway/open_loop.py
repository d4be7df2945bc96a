"""The one Locust user of an open loop: sends each request on schedule, whether or not earlier ones have been answered."""

import logging
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar

import gevent
import gevent.event
import gevent.pool
from locust import User, task

from scenarios.gateway.arrivals import Arrival, Schedule
from scenarios.gateway.user import GatewayUser
from scenarios.gateway.user_context import UserContext

IDLE_S = 1.0
_LOOK_S = 0.1  # a change of the rate takes effect within this time
log = logging.getLogger(__name__)


class OpenLoop(User):
    """Replaces the users of `scenarios`: each arrival is one task of one of them, chosen by weight, in its own greenlet.

    A user that has finished keeps its connections and waits for the next arrival; if none is waiting, a new user is created.
    Arrivals that came due while this process was stalled are sent late and keep their scheduled times.
    """

    abstract = True
    fixed_count = 1  # per process; each sends its share
    scenarios: ClassVar[Sequence[type[GatewayUser]]]

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        user_context = getattr(environment, "brownout", None)
        assert isinstance(user_context, UserContext), "environment.brownout is set when the run opens"
        assert user_context.arrivals is not None, "an open loop needs arrivals"
        self._user_context = user_context
        self._schedule = user_context.arrivals.schedule(
            self._seed("gaps"), user_context.share, user_context.factor
        )
        self._random = random.Random(self._seed("scenarios"))
        self._idle: defaultdict[type[GatewayUser], list[GatewayUser]] = defaultdict(list)
        self._under_way = gevent.pool.Group()
        self._over = gevent.event.Event()
        self._count = 0

    @task
    def arrivals(self) -> None:
        """Send all arrivals, then wait for requests in flight, as Locust waits for any user's task."""
        try:
            self._run_schedule(self._schedule)
            self._over.wait()  # a trace has an end; the run may continue
            self._under_way.join()
        finally:  # if this task is killed, so are they; each has its record
            self._under_way.kill()
            for users in self._idle.values():
                for user in users:
                    user.on_stop()

    def stop(self, force: bool = False) -> bool:
        self._over.set()
        return bool(super().stop(force))

    def _run_schedule(self, schedule: Schedule) -> None:
        clock = self._user_context.clock
        begun_at = clock.now()
        until_s = 0.0
        while not self._over.is_set():
            until_s = max(until_s, clock.now() - begun_at) + _LOOK_S
            while (arrival := schedule.before(until_s)) is not None:
                scheduled_at = begun_at + arrival.at_s
                if self._stopped_before(scheduled_at):
                    return
                self._arrive(arrival, scheduled_at)
            self._stopped_before(begun_at + until_s)

    def _stopped_before(self, at: float) -> bool:
        """Wait until `at`; True: the loop was stopped. Always yields to the hub first, or late requests would block other greenlets."""
        self._over.wait(0.0)
        while not self._over.is_set() and (left_s := at - self._user_context.clock.now()) > 0:
            self._over.wait(left_s)  # a timer of a busy hub may fire early
        return self._over.is_set()

    def _arrive(self, arrival: Arrival, scheduled_at: float) -> None:
        user_context, tally = self._user_context, self._user_context.recorder.tally
        tally.due()
        # Drawn even if the arrival is dropped, so that a run is reproducible.
        scenario = self._random.choices(self.scenarios, [s.weight for s in self.scenarios])[0]
        drawn = random.Random(self._seed(f"{scenario.scenario}/{self._count}"))
        self._count += 1
        if len(self._under_way) >= user_context.max_in_flight:
            tally.drop()
            return
        idle = self._idle[scenario]
        user = idle.pop() if idle else scenario(self.environment)
        self._under_way.spawn(self._run_arrival, user, arrival, scheduled_at, drawn)

    def _run_arrival(
        self, user: GatewayUser, arrival: Arrival, scheduled_at: float, drawn: random.Random
    ) -> None:
        try:
            user.arrive(arrival, scheduled_at, drawn)
        except Exception as e:  # our bug; reported as Locust reports exceptions of its users' tasks
            self.environment.events.user_error.fire(user_instance=user, exception=e, tb=sys.exc_info()[2])
            log.exception("%s", user.scenario)
        finally:
            self._idle[type(user)].append(user)

    def _seed(self, what: str) -> str:
        user_context = self._user_context
        return f"{user_context.seed}/{user_context.worker}/{user_context.share.index}/arrivals/{what}"


class Idle(User):
    """Sends no requests. A master spawns it where there are only open loops, because each worker runs its own."""

    @task
    def idle(self) -> None:
        gevent.sleep(IDLE_S)


def open_loop(scenarios: Sequence[type[GatewayUser]]) -> type[OpenLoop]:
    """The user class that Locust spawns instead of these."""
    return type("OpenLoopUser", (OpenLoop,), {"abstract": False, "scenarios": tuple(scenarios)})

"""The one Locust user of an open loop: makes each request when it arrives, whether or not earlier ones have been answered."""

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
from scenarios.gateway.user_context import Stage

IDLE_S = 1.0
_LOOK_S = 0.1  # how long a rate that changes may go unseen
log = logging.getLogger(__name__)


class OpenLoop(User):
    """Stands for the users of `scenarios`: each arrival is one task of one of them, by weight, in a greenlet of its own.

    A user who is done waits, with his connections, for the next arrival; where none is waiting another one is made.
    What came due while this process was held up is made all the same, late, with the instant it was intended for.
    """

    abstract = True
    fixed_count = 1  # a process; each makes its share
    scenarios: ClassVar[Sequence[type[GatewayUser]]]

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        stage = getattr(environment, "brownout", None)
        assert isinstance(stage, Stage), "environment.brownout is set when the run opens"
        assert stage.arrivals is not None, "the open loop is chosen where there are arrivals"
        self._stage = stage
        self._schedule = stage.arrivals.schedule(self._seed("gaps"), stage.share, stage.factor)
        self._random = random.Random(self._seed("scenarios"))
        self._idle: defaultdict[type[GatewayUser], list[GatewayUser]] = defaultdict(list)
        self._under_way = gevent.pool.Group()
        self._over = gevent.event.Event()
        self._count = 0

    @task
    def arrivals(self) -> None:
        """All of them; then wait for those under way, as Locust waits for any user's task."""
        try:
            self._walk(self._schedule)
            self._over.wait()  # a trace has an end; the run may go on
            self._under_way.join()
        finally:  # killed: so are they, and each has its record
            self._under_way.kill()
            for users in self._idle.values():
                for user in users:
                    user.on_stop()

    def stop(self, force: bool = False) -> bool:
        self._over.set()
        return bool(super().stop(force))

    def _walk(self, schedule: Schedule) -> None:
        clock = self._stage.clock
        begun_at = clock.now()
        until_s = 0.0
        while not self._over.is_set():
            until_s = max(until_s, clock.now() - begun_at) + _LOOK_S
            while (arrival := schedule.before(until_s)) is not None:
                scheduled_at = begun_at + arrival.at_s
                if self._over_before(scheduled_at):
                    return
                self._arrive(arrival, scheduled_at)
            self._over_before(begun_at + until_s)

    def _over_before(self, at: float) -> bool:
        """Wait for the instant. When it has passed: let those in who wait for the hub, or late requests would hold up others."""
        self._over.wait(0.0)
        while not self._over.is_set() and (left_s := at - self._stage.clock.now()) > 0:
            self._over.wait(left_s)  # a timer of a busy hub may fire early
        return self._over.is_set()

    def _arrive(self, arrival: Arrival, scheduled_at: float) -> None:
        stage, tally = self._stage, self._stage.recorder.tally
        tally.due()
        # Drawn whatever becomes of it, so that a run repeats.
        scenario = self._random.choices(self.scenarios, [s.weight for s in self.scenarios])[0]
        drawn = random.Random(self._seed(f"{scenario.scenario}/{self._count}"))
        self._count += 1
        if len(self._under_way) >= stage.max_in_flight:
            tally.refused()
            return
        idle = self._idle[scenario]
        user = idle.pop() if idle else scenario(self.environment)
        self._under_way.spawn(self._play, user, arrival, scheduled_at, drawn)

    def _play(self, user: GatewayUser, arrival: Arrival, scheduled_at: float, drawn: random.Random) -> None:
        try:
            user.arrive(arrival, scheduled_at, drawn)
        except Exception as e:  # ours; told as Locust tells what its users' tasks throw
            self.environment.events.user_error.fire(user_instance=user, exception=e, tb=sys.exc_info()[2])
            log.exception("%s", user.scenario)
        finally:
            self._idle[type(user)].append(user)

    def _seed(self, what: str) -> str:
        stage = self._stage
        return f"{stage.seed}/{stage.worker}/{stage.share.index}/arrivals/{what}"


class Idle(User):
    """Asks nothing: whom Locust places where nobody but open loops requests, of which every worker has its own."""

    @task
    def idle(self) -> None:
        gevent.sleep(IDLE_S)


def open_loop(scenarios: Sequence[type[GatewayUser]]) -> type[OpenLoop]:
    """The class that Locust is to spawn in place of these."""
    return type("OpenLoopUser", (OpenLoop,), {"abstract": False, "scenarios": tuple(scenarios)})

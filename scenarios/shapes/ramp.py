"""Finds the knee: holds an arrival rate for a while, then a higher one, until the objective is missed.

    make ramp
    make ramp VIA=vllm OPTIONS="--ramp-from 4 --ramp-to 64 --objective-ttft-ms 500"
    make ramp VIA=each

No faults are injected. After each step the load pauses until all requests in flight are answered, so that no step inherits the
queue of the step before; a step that missed the objective is held once more. `gateway/ramp/knee.py` decides. With `each`, every
tier that may get direct requests is ramped in turn, and the gateway last; capacity.csv has a row for each.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser

from contract import printable, samplers
from contract.records import GATEWAY, Lane
from contract.refusal import EXIT_PASS, EXIT_UNKNOWN, Refusal, no_such
from contract.run import read_arrow, write_whole
from contract.schemas import REQUESTS
from scenarios.gateway.load_shape import Search, positive, seconds
from scenarios.gateway.ramp import capacity
from scenarios.gateway.ramp.capacity import Ramped
from scenarios.gateway.ramp.knee import (
    HEADING,
    LEAST_GOOD,
    Answer,
    Bound,
    Range,
    RateStep,
    decide,
    describe,
    miss,
    row,
    summarise,
)
from scenarios.gateway.user_context import UserContext

LEAST_REQUESTS = 50  # with fewer, a p99 or a share of 99 % is not significant
REST_S = 60.0  # maximum wait for requests in flight after a step; a request not answered by then is a miss
FILE, TABLE = "ramp.json", "capacity.csv"
EACH = "each"  # every tier that may get direct requests, and the gateway


@events.init_command_line_parser.add_listener
def _arguments(parser: LocustArgumentParser) -> None:
    add = parser.add_argument
    add("--ramp-from", type=float, default=2.0, help="shape ramp: first rate, in arrivals per second")
    add("--ramp-to", type=float, default=100.0, help="shape ramp: highest rate, in arrivals per second")
    add("--ramp-factor", type=float, default=1.5, help="shape ramp: factor between two rates")
    add(
        "--ramp-hold", default="15s",
        help=f"shape ramp: how long each rate is held; longer if fewer than {LEAST_REQUESTS} requests would arrive",
    )  # fmt: skip
    add("--via", default=GATEWAY, help="shape ramp: target of the requests: gateway, a tier, or each in turn")
    add(
        "--objective-ttft-ms",
        type=float,
        help="shape ramp: TTFT objective in ms (default: the timeline's objectives.ttft_ms)",
    )


class Ramp(Search):
    arrivals = "poisson:1/s"  # the factor is the rate
    scenarios = "chat"

    def read(self, options: argparse.Namespace) -> None:
        self._range = Range(
            positive(options, "ramp_from"), positive(options, "ramp_to"), positive(options, "ramp_factor")
        )
        if self._range.factor <= 1:
            raise Refusal(f"--ramp-factor: {self._range.factor:g} does not raise the rate; give more than 1")
        if self._range.most < self._range.start:
            raise Refusal(f"--ramp-to: {self._range.most:g} is below --ramp-from, {self._range.start:g}")
        self._hold_s, self._via = seconds(options, "ramp_hold"), options.via
        if options.objective_ttft_ms is not None:
            self.objective_ms = positive(options, "objective_ttft_ms")
        self._rate = 0.0
        self._ramped: list[Ramped] = []

    def factor(self, at_s: float) -> float:
        return self._rate

    def prepare(self, user_context: UserContext) -> None:
        if self.objective_ms is None:
            raise Refusal("the timeline has no objectives.ttft_ms; give --objective-ttft-ms")
        tiers = [t.name for t in user_context.direct_tiers()]
        known = [GATEWAY, EACH, *tiers]
        if self._via not in known:
            raise Refusal(f"--via: {no_such('target', self._via, known)}")
        self._targets = [*tiers, GATEWAY] if self._via == EACH else [self._via]

    def run(self, user_context: UserContext, folder: Path, guard: Callable[[], str | None]) -> None:
        self._write(folder)
        while not self.runner.user_count:  # the user of the open loop
            gevent.sleep(0.1)
        for via in self._targets:
            if guard() is None:
                self._climb(via, user_context, folder, guard)

    def _climb(
        self, via: str, user_context: UserContext, folder: Path, guard: Callable[[], str | None]
    ) -> None:
        """Ramp one target, from the first rate to the answer."""
        assert self.objective_ms is not None
        user_context.via, now = via, Ramped(via, [])
        self._ramped.append(now)
        self._write(folder)  # so that a target that is stopped in its first step is listed, without an answer
        while self._ramped[-1].answer is None:
            found, answer = decide(now.steps, self._range, self.objective_ms), None
            if isinstance(found, Answer):
                answer = found
            else:
                now.steps.append(self._held(found.rate, user_context, folder, guard))
                print(printable.lines(f"\nramp {via}: {row(now.steps[-1]).strip()}"), flush=True)
                if (why := guard()) is not None:
                    before = [s.rate for s in now.steps[:-1] if miss(s, self.objective_ms) is None]
                    answer = Answer(Bound.UNKNOWN_BEYOND, max(before, default=None), why)
            self._ramped[-1] = Ramped(via, now.steps, answer)
            self._write(folder)

    def conclusion(self) -> tuple[str, int]:
        assert self.objective_ms is not None
        lines, known = [], len(self._ramped) == len(self._targets)
        for one in self._ramped:
            result = (
                "cut short: there is no answer"
                if one.answer is None
                else describe(one.answer, self.objective_ms)
            )
            known = known and one.answer is not None and one.answer.bound is not Bound.UNKNOWN_BEYOND
            lines += [f"{one.via}:", HEADING, *map(row, one.steps), result, ""]
        lines.append(capacity.text(self._table()))
        return "\n".join(lines), EXIT_PASS if known else EXIT_UNKNOWN

    def _table(self) -> list[capacity.Capacity]:
        """A row for each target, also for those that were not reached."""
        assert self.objective_ms is not None
        found = {one.via: one for one in self._ramped}
        return [capacity.of(found.get(via, Ramped(via, [])), self.objective_ms) for via in self._targets]

    def _held(
        self, rate: float, user_context: UserContext, folder: Path, guard: Callable[[], str | None]
    ) -> RateStep:
        assert self.objective_ms is not None
        tally, begun_at, before = (
            user_context.recorder.tally,
            user_context.clock.now(),
            user_context.recorder.tally.snapshot(),
        )
        held_s = max(self._hold_s, LEAST_REQUESTS / rate)
        self._rate = rate
        while (left_s := begun_at + held_s - user_context.clock.now()) > 0 and guard() is None:
            gevent.sleep(min(1.0, left_s))
        self._rate = 0.0
        ended_at, in_flight = user_context.clock.now(), tally.snapshot().in_flight
        gevent.sleep(1.0)  # the open loop sees the new rate, and the rows of the last second are written
        with gevent.Timeout(REST_S, False):
            while tally.snapshot().in_flight:
                gevent.sleep(0.1)
        user_context.recorder.flush()
        after = tally.snapshot()
        requests = read_arrow(folder / "requests.arrow", REQUESTS)[0].to_pylist()
        client, gauges = _sampled(folder, "client"), _sampled(folder, "gauges")
        return summarise(
            rate, held_s, after.scheduled - before.scheduled, after.dropped - before.dropped, in_flight, self.objective_ms,
            [a for a in requests if a["lane"] == Lane.LOAD and a["scheduled_at"] >= begun_at],
            [c for c in client if begun_at < c["at"] <= ended_at + 1],
            [g for g in gauges if g["tier"] == user_context.via and begun_at <= g["at"] <= ended_at],
        )  # fmt: skip

    def _write(self, folder: Path) -> None:
        """Written completely after each step, since a ramp may be killed at any time."""
        found = {
            "objective_ttft_ms": self.objective_ms,
            "least_good": LEAST_GOOD,
            "range": asdict(self._range),
            "ramps": [asdict(one) for one in self._ramped],
        }
        write_whole(folder / FILE, json.dumps(found, indent=1) + "\n")
        write_whole(folder / TABLE, capacity.table(self._table()))


def _sampled(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows that this sampler has written so far."""
    return samplers.read(folder, name)[0].to_pylist()

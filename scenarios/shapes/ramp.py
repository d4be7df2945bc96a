"""Looks for the knee: a rate of arrivals is held for a while, then a higher one, until the objective is missed.

    make ramp
    make ramp VIA=vllm OPTIONS="--ramp-from 4 --ramp-to 64 --objective-ttft-ms 500"
    make ramp VIA=each

No fault is made. After each step the load rests until what was under way has been answered, so that no step inherits
the queue of the one before; a step that missed the objective is held once more. `gateway/knee.py` decides. With `each`
every tier that may be asked directly is ramped in turn, and the gateway last; capacity.csv has a row for each.
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

from contract import samplers
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
    Step,
    decide,
    miss,
    row,
    said,
    summarise,
)
from scenarios.gateway.user_context import Stage

LEAST_REQUESTS = 50  # of fewer, a p99 or a share of 99 % says little
REST_S = 60.0  # at most, for what is under way at the end of a step; what is not answered then is a miss
FILE, TABLE = "ramp.json", "capacity.csv"
EACH = "each"  # the word for every tier that may be asked directly, and the gateway


@events.init_command_line_parser.add_listener
def _arguments(parser: LocustArgumentParser) -> None:
    add = parser.add_argument
    add("--ramp-from", type=float, default=2.0, help="shape ramp: the first rate, arrivals a second")
    add("--ramp-to", type=float, default=100.0, help="shape ramp: the last one")
    add("--ramp-factor", type=float, default=1.5, help="shape ramp: each is so many times the one before")
    add(
        "--ramp-hold", default="15s",
        help=f"shape ramp: how long each is held; longer where fewer than {LEAST_REQUESTS} would arrive",
    )  # fmt: skip
    add("--via", default=GATEWAY, help="shape ramp: who is asked, the gateway, a tier, or each in turn")
    add("--objective-ttft-ms", type=float, help="shape ramp: by default the timeline's objectives.ttft_ms")


class Ramp(Search):
    arrivals = "poisson:1/s"  # the factor is the rate
    scenarios = "chat"

    def read(self, options: argparse.Namespace) -> None:
        self._range = Range(
            positive(options, "ramp_from"), positive(options, "ramp_to"), positive(options, "ramp_factor")
        )
        if self._range.factor <= 1:
            raise Refusal(f"--ramp-factor: {self._range.factor:g} leads nowhere; give more than 1")
        if self._range.most < self._range.start:
            raise Refusal(f"--ramp-to: {self._range.most:g} is below --ramp-from, {self._range.start:g}")
        self._hold_s, self._via = seconds(options, "ramp_hold"), options.via
        if options.objective_ttft_ms is not None:
            self.objective_ms = positive(options, "objective_ttft_ms")
        self._rate = 0.0
        self._ramped: list[Ramped] = []

    def factor(self, at_s: float) -> float:
        return self._rate

    def prepare(self, stage: Stage) -> None:
        if self.objective_ms is None:
            raise Refusal(
                "the timeline has no objectives.ttft_ms, by which a rate is judged; give --objective-ttft-ms"
            )
        tiers = [t.name for t in stage.direct_tiers()]
        known = [GATEWAY, EACH, *tiers]
        if self._via not in known:
            raise Refusal(f"--via: {no_such('gateway or tier that may be asked directly', self._via, known)}")
        self._ways = [*tiers, GATEWAY] if self._via == EACH else [self._via]

    def walk(self, stage: Stage, folder: Path, guard: Callable[[], str | None]) -> None:
        self._write(folder)
        while not self.runner.user_count:  # the open loop's own user
            gevent.sleep(0.1)
        for via in self._ways:
            if guard() is None:
                self._climb(via, stage, folder, guard)

    def _climb(self, via: str, stage: Stage, folder: Path, guard: Callable[[], str | None]) -> None:
        """One way, from the first rate to its answer."""
        assert self.objective_ms is not None
        stage.via, now = via, Ramped(via, [])
        self._ramped.append(now)
        self._write(folder)  # one that is stopped within its first step has no answer, and says so
        while self._ramped[-1].answer is None:
            found, answer = decide(now.steps, self._range, self.objective_ms), None
            if isinstance(found, Answer):
                answer = found
            else:
                now.steps.append(self._held(found.rate, stage, folder, guard))
                print(f"\nramp {via}: {row(now.steps[-1]).strip()}", flush=True)
                if (why := guard()) is not None:
                    before = [s.rate for s in now.steps[:-1] if miss(s, self.objective_ms) is None]
                    answer = Answer(Bound.UNKNOWN_BEYOND, max(before, default=None), why)
            self._ramped[-1] = Ramped(via, now.steps, answer)
            self._write(folder)

    def conclusion(self) -> tuple[str, int]:
        assert self.objective_ms is not None
        lines, known = [], len(self._ramped) == len(self._ways)
        for one in self._ramped:
            told = (
                "cut short: there is no answer" if one.answer is None else said(one.answer, self.objective_ms)
            )
            known = known and one.answer is not None and one.answer.bound is not Bound.UNKNOWN_BEYOND
            lines += [f"{one.via}:", HEADING, *map(row, one.steps), told, ""]
        lines.append(capacity.text(self._table()))
        return "\n".join(lines), EXIT_PASS if known else EXIT_UNKNOWN

    def _table(self) -> list[capacity.Capacity]:
        """A row for each way, also for those that were not reached."""
        assert self.objective_ms is not None
        found = {one.via: one for one in self._ramped}
        return [capacity.of(found.get(via, Ramped(via, [])), self.objective_ms) for via in self._ways]

    def _held(self, rate: float, stage: Stage, folder: Path, guard: Callable[[], str | None]) -> Step:
        assert self.objective_ms is not None
        tally, begun_at, before = stage.recorder.tally, stage.clock.now(), stage.recorder.tally.snapshot()
        held_s = max(self._hold_s, LEAST_REQUESTS / rate)
        self._rate = rate
        while (left_s := begun_at + held_s - stage.clock.now()) > 0 and guard() is None:
            gevent.sleep(min(1.0, left_s))
        self._rate = 0.0
        ended_at, in_flight = stage.clock.now(), tally.snapshot().in_flight
        gevent.sleep(1.0)  # until the arrivals have seen it, and the rows of the last second are written
        with gevent.Timeout(REST_S, False):
            while tally.snapshot().in_flight:
                gevent.sleep(0.1)
        stage.recorder.flush()
        after = tally.snapshot()
        requests = read_arrow(folder / "requests.arrow", REQUESTS)[0].to_pylist()
        client, gauges = _sampled(folder, "client"), _sampled(folder, "gauges")
        return summarise(
            rate, held_s, after.scheduled - before.scheduled, after.dropped - before.dropped, in_flight, self.objective_ms,
            [a for a in requests if a["lane"] == Lane.LOAD and a["scheduled_at"] >= begun_at],
            [c for c in client if begun_at < c["at"] <= ended_at + 1],
            [g for g in gauges if g["tier"] == stage.via and begun_at <= g["at"] <= ended_at],
        )  # fmt: skip

    def _write(self, folder: Path) -> None:
        """Whole after each step: a ramp may be killed at any instant."""
        told = {
            "objective_ttft_ms": self.objective_ms,
            "least_good": LEAST_GOOD,
            "range": asdict(self._range),
            "ramps": [asdict(one) for one in self._ramped],
        }
        write_whole(folder / FILE, json.dumps(told, indent=1) + "\n")
        write_whole(folder / TABLE, capacity.table(self._table()))


def _sampled(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows that this sampler has written so far."""
    return samplers.read(folder, name)[0].to_pylist()

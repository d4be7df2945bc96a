"""The arrival times of an open loop: constant, Poisson, or replayed from a trace. Pure; open_loop.py sends the requests.

A closed loop sends its next request after the last answer. During a hang it sends none, and so hides the latency of
requests that would have arrived meanwhile. An open loop sends each request on schedule.
"""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from contract import duration
from contract.refusal import Refusal, no_such
from scenarios.gateway import trace
from scenarios.gateway.trace import Arrival

KINDS = ("constant", "poisson", "replay")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/([smh])")
MOST_PER_S = 1e5
"""More than any load generator can send."""
LONGEST_S = 86_400.0


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """The share of the arrivals that this load generator sends: number `index` (from 0) of `of` shares."""

    index: int = 0
    of: int = 1


class Schedule(Protocol):
    """Arrivals in order; `before` is called repeatedly as time passes."""

    def before(self, until_s: float) -> Arrival | None:
        """The next one, if it is due before `until_s`. `until_s` never goes back."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The value of `--arrivals`: a kind with its rate, or a trace."""

    kind: str
    rate: float = 0.0  # per second; unused by replay
    trace: tuple[Arrival, ...] = ()
    read_as: str = ""  # the unit in which the trace's times were read

    def lasting(self) -> str | None:
        """Length and mean rate of a trace, as text for the operator before the run; None: a rate, which has no end."""
        if self.kind != "replay":
            return None
        lasts_s, n = self.trace[-1].at_s, len(self.trace)
        rate = f" ({n / lasts_s:.3g}/s)" if lasts_s else ""
        return f"{n:,} arrivals over {duration.text(lasts_s)}{rate}, times read as {self.read_as}"

    def schedule(
        self,
        seed: str,
        share: WorkerShare = WorkerShare(),
        factor: Callable[[float], float] = lambda at_s: 1.0,
    ) -> Schedule:
        """`factor`: multiplies the rate at a time (seconds after the start); a trace is not changed."""
        if self.kind == "replay":
            return _Traced(self.trace[share.index :: share.of])
        part = self.rate / share.of
        gaps = _even(share) if self.kind == "constant" else _exponential(random.Random(seed))
        return _Paced(gaps, lambda at_s: part * factor(at_s))


class _Paced:
    """Gaps in units of one over the rate; the rate is constant between two calls of `before`."""

    def __init__(self, gaps: Iterator[float], rate: Callable[[float], float]) -> None:
        self._gaps, self._rate = gaps, rate
        self._at_s = 0.0
        self._left = next(gaps)

    def before(self, until_s: float) -> Arrival | None:
        rate = self._rate(self._at_s)
        if self._left >= rate * (until_s - self._at_s):
            self._left -= rate * (until_s - self._at_s)
            self._at_s = until_s
            return None
        self._at_s += self._left / rate
        self._left = next(self._gaps)
        return Arrival(self._at_s)


class _Traced:
    def __init__(self, trace: tuple[Arrival, ...]) -> None:
        self._trace, self._next = trace, 0

    def before(self, until_s: float) -> Arrival | None:
        if self._next == len(self._trace) or self._trace[self._next].at_s >= until_s:
            return None
        self._next += 1
        return self._trace[self._next - 1]


def _even(share: WorkerShare) -> Iterator[float]:
    """Several load generators take turns, so that their requests together are evenly spaced."""
    return itertools.chain([(share.index + 1) / share.of], itertools.repeat(1.0))


def _exponential(rng: random.Random) -> Iterator[float]:
    while True:
        yield rng.expovariate(1.0)


def open_or_closed(chosen: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Split user classes: those that arrivals replace, and those that stay in a closed loop: the observers, which have
    Locust's fixed_count. If all are observers, arrivals replace them."""
    load = [user for user in chosen if not user.fixed_count]
    return (load, [user for user in chosen if user.fixed_count]) if load else (list(chosen), [])


def parse(text: str, any_length: bool = False) -> Arrivals:
    """`constant:8/s`, `poisson:90/m`, `replay:trace.csv` or, with the unit of its times, `replay:trace.csv@ms`.

    `any_length`: the run has its own duration, so a trace of more than a day is accepted. Raises Refusal with the correct
    form.
    """
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise Refusal(f"--arrivals: {text!r}: {no_such('kind of arrivals', kind, KINDS)}")
    if kind == "replay":
        return _replayed(rest, any_length)
    found = _RATE.fullmatch(rest)
    rate = float(found[1]) / _SECONDS[found[2]] if found else 0.0
    if not 0.0 < rate <= MOST_PER_S:
        above = f"more than {MOST_PER_S:g}/s" if rate > 0 else "not a rate above 0"
        raise Refusal(
            f"--arrivals: {text!r}: {rest[:40]!r} is {above}; write it like {kind}:8/s or {kind}:90/m"
        )
    return Arrivals(kind, rate)


def _replayed(rest: str, any_length: bool) -> Arrivals:
    if not rest:
        raise Refusal(
            "--arrivals: 'replay:' does not name a trace; write it like replay:trace.csv or replay:trace.csv@ms"
        )
    path, unit = trace.unit_of(rest)
    found, read_as = trace.read(Path(path), unit)
    lasts_s = found[-1].at_s
    if lasts_s > LONGEST_S and not any_length:
        raise Refusal(
            f"--arrivals: {path}: lasts {duration.text(lasts_s)}, its times were read as {read_as}; a trace of more than a day needs "
            "--duration, for example --duration 24h (or give the unit of its times, as in replay:trace.csv@ms)"
        )
    return Arrivals("replay", trace=found, read_as=read_as)

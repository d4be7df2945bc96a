"""When asks arrive in an open loop: evenly, at random, or as a trace has them. Decides alone; open_loop.py makes the asks.

A closed loop asks again when its answer has come: in a hang it falls silent, and hides what those would have seen who
came meanwhile. An open loop asks when it is time to.
"""

import csv
import datetime
import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from contract.refusal import Refusal, no_such

KINDS = ("constant", "poisson", "replay")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?)/([smh])")
_COLUMNS = ("time", "prompt tokens", "output tokens")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One ask to come, `at_s` after the start. The lengths: of a trace; None: the scenario's own."""

    at_s: float
    prompt_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of the arrivals this load generator makes: the one with this index, from 0, of so many."""

    index: int = 0
    of: int = 1


class Schedule(Protocol):
    """Arrivals in their order, of which the next is asked for again and again as time goes by."""

    def before(self, until_s: float) -> Arrival | None:
        """The next one, if it is due before `until_s`. `until_s` never goes back."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What `--arrivals` says: a kind and its rate, or its trace."""

    kind: str
    rate: float = 0.0  # a second; of a replay nothing is said
    trace: tuple[Arrival, ...] = ()

    def schedule(
        self, seed: str, share: Share = Share(), factor: Callable[[float], float] = lambda at_s: 1.0
    ) -> Schedule:
        """`factor`: what the rate is multiplied with at an instant (seconds after the start); a trace is as it is."""
        if self.kind == "replay":
            return _Traced(self.trace[share.index :: share.of])
        part = self.rate / share.of
        gaps = _even(share) if self.kind == "constant" else _exponential(random.Random(seed))
        return _Paced(gaps, lambda at_s: part * factor(at_s))


class _Paced:
    """Gaps in units of one over the rate, walked through at the rate that holds from `until_s` to `until_s`."""

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


def _even(share: Share) -> Iterator[float]:
    """Several load generators take turns, so that their asks together are as even as one's alone."""
    return itertools.chain([(share.index + 1) / share.of], itertools.repeat(1.0))


def _exponential(rng: random.Random) -> Iterator[float]:
    while True:
        yield rng.expovariate(1.0)


def open_or_closed(chosen: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Of scenarios' users: whom arrivals take the place of, and who stays: the observers, of whom there is one each
    (Locust's fixed_count), unless nobody else is there."""
    load = [user for user in chosen if not user.fixed_count]
    return (load, [user for user in chosen if user.fixed_count]) if load else (list(chosen), [])


def parse(text: str) -> Arrivals:
    """`constant:8/s`, `poisson:90/m` or `replay:trace.csv`. Raises Refusal, saying what would be right."""
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise Refusal(f"--arrivals: {text!r}: {no_such('kind of arrivals', kind, KINDS)}")
    if kind == "replay":
        return Arrivals(kind, trace=read_trace(Path(rest)))
    found = _RATE.fullmatch(rest)
    if found is None or not float(found[1]):
        raise Refusal(
            f"--arrivals: {text!r}: {rest!r} is no rate above 0; write it like {kind}:8/s or {kind}:90/m"
        )
    return Arrivals(kind, float(found[1]) / _SECONDS[found[2]])


def read_trace(path: Path) -> tuple[Arrival, ...]:
    """A CSV of three columns: time, prompt tokens, output tokens; a heading is skipped. Raises Refusal.

    The time is in seconds, or an instant (2023-11-16 18:17:03.979); the first row is at the start.
    """
    try:
        with open(path, newline="") as f:
            rows = [(line, row) for line, row in enumerate(csv.reader(f), start=1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise Refusal(f"--arrivals: {path}: cannot be read: {getattr(e, 'strerror', None) or e}") from None
    if rows and rows[0][0] == 1 and _time(rows[0][1][0]) is None:
        del rows[0]
    if not rows:
        raise Refusal(f"--arrivals: {path}: holds no arrivals; its columns are {', '.join(_COLUMNS)}")
    found: list[Arrival] = []
    first_s = last_s = None
    for line, row in rows:
        where = f"--arrivals: {path} line {line}"
        if len(row) != len(_COLUMNS):
            raise Refusal(f"{where}: holds {len(row)} columns; there are three: {', '.join(_COLUMNS)}")
        at_s = _time(row[0])
        if at_s is None:
            raise Refusal(f"{where}: {row[0]!r} is no time; write seconds, or like 2023-11-16 18:17:03.979")
        if last_s is not None and at_s < last_s:
            raise Refusal(f"{where}: its time {row[0]} is before that of the line above; sort the trace")
        first_s, last_s = at_s if first_s is None else first_s, at_s
        found.append(
            Arrival(at_s - first_s, _tokens(where, row[1], _COLUMNS[1]), _tokens(where, row[2], _COLUMNS[2]))
        )
    return tuple(found)


def _time(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass  # an instant then
    try:
        at = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()


def _tokens(where: str, text: str, column: str) -> int:
    if not re.fullmatch(r"\s*[1-9]\d*\s*", text):
        raise Refusal(f"{where}: {text!r} is no number of {column}; write a whole number from 1 on")
    return int(text)

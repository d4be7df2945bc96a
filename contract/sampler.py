"""The definition of a sampler: rows about a run, read at a fixed interval by one of its processes into one table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from contract import schemas
from contract.clock import Clock
from contract.topology import Topology

Rows = Sequence[Any]
"""Records of the sampler's dataclass; may be empty."""


class Process(StrEnum):
    """Which process of a run runs a sampler."""

    CHAOS = "chaos"
    RUN = "run"  # the load generator that owns the run folder: the only one, or the master
    # Each load generator that sends requests; a worker's rows reach the master with its records.
    EACH = "each"


class Counts(Protocol):
    """Counts since the run was opened."""

    @property
    def scheduled(self) -> int: ...
    @property
    def sent(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def in_flight(self) -> int: ...


class Tally(Protocol):
    """The requests of this process."""

    late_s: list[float]  # of requests sent since it was last emptied: sent − scheduled

    def snapshot(self) -> Counts: ...


@dataclass(frozen=True, slots=True)
class Load:
    """The state of a load generator that sends requests."""

    users: Callable[[], int]  # number of users now
    tally: Tally
    lag_s: Callable[[float], float]
    """Period in seconds, ending now → p99 of the time that an event at a random instant waited for the event loop.

    Each call begins the next period, so only one sampler may call it. The same holds for `tally.late_s`.
    """
    cpu_percent: Callable[[], float]  # of one core, this process alone, since the previous call
    worker: str | None  # this process's name among several


@dataclass(frozen=True, slots=True)
class Given:
    """The input of a process for its samplers."""

    topology: Topology  # with urls
    clock: Clock
    load: Load | None = None  # None: this process sends no requests


def _no_rows(*_: object) -> Rows:
    return ()


@dataclass(frozen=True, slots=True)
class Source:
    """One part of a sampler. Each has its own thread, so that a slow source does not delay another.

    A call of `rows` must be bounded in time.
    """

    name: str
    rows: Callable[[], Rows]
    unknown: Callable[[float], Rows] = _no_rows  # rows for a sample that was due at this instant and missed
    last: Callable[[], Rows] = _no_rows  # at the end: rows for what was not in a row yet


@dataclass(frozen=True)
class Sampler:
    """One file of `contract.samplers`; the file name is its name."""

    record: type
    """The dataclass of a row. It has `at`, unix seconds, and, if each load generator makes rows, `worker`, its name or None."""
    every_s: float
    process: Process
    sources: Callable[[Given], Sequence[Source]]
    """Called once in a run, when the sampler starts; in chaos before anything is touched, and a Refusal refuses the run."""

    @cached_property
    def schema(self) -> pa.Schema:
        return schemas.schema(self.record)


def sampled(
    source: Source, every_s: float, now: Callable[[], float], wait: Callable[[float], object]
) -> Iterator[Rows]:
    """The rows of a source, sample by sample, until `wait(seconds)` returns a true value.

    A sample begins `every_s` after the previous one began. If it begins more than `every_s` late, a sample was missed: this
    process stalled, and the source's `unknown` rows come first.
    """
    due = now()
    while True:
        at = now()
        if at - due > every_s:
            yield source.unknown(due)
        yield source.rows()
        due = at + every_s
        if wait(max(0.0, due - now())):
            return

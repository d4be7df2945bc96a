"""What a sampler is: rows about a run, read at a fixed pace by one of its processes into one table."""

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
"""Records of the sampler's dataclass. They may be none."""


class Process(StrEnum):
    """Which process of a run runs a sampler."""

    CHAOS = "chaos"
    RUN = "run"  # the load generator that owns the run folder: the only one, or the master
    # Each load generator that makes requests; a worker's rows reach the master with its records.
    EACH = "each"


class Counts(Protocol):
    """Since the run was opened."""

    @property
    def scheduled(self) -> int: ...
    @property
    def sent(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def in_flight(self) -> int: ...


class Tally(Protocol):
    """How many requests this process has made."""

    late_s: list[float]  # of those sent since it was last emptied: by how much later than intended

    def snapshot(self) -> Counts: ...


@dataclass(frozen=True, slots=True)
class Load:
    """What a load generator that makes requests knows of itself."""

    users: Callable[[], int]  # how many there are now
    tally: Tally
    lag_s: Callable[[float], float]
    """Of a period of so many seconds that ends now, the p99 of what an event at a random instant waited for the event loop.

    Each call begins the next period, so only one sampler may call it; so it is with `tally.late_s`.
    """
    cpu_percent: Callable[[], float]  # of one core, by this process alone, since the call before
    worker: str | None  # this process's name among several


@dataclass(frozen=True, slots=True)
class Given:
    """What a process gives to its samplers."""

    topology: Topology  # with urls
    clock: Clock
    load: Load | None = None  # None: this process makes no requests


def _no_rows(*_: object) -> Rows:
    return ()


@dataclass(frozen=True, slots=True)
class Source:
    """One part of a sampler. Each has a thread of its own, so that a slow one delays no other.

    A call of `rows` must be bounded in time.
    """

    name: str
    rows: Callable[[], Rows]
    unknown: Callable[[float], Rows] = _no_rows  # of a sample that was due at this instant, and missed
    last: Callable[[], Rows] = _no_rows  # at the end: what was not in a row yet


@dataclass(frozen=True)
class Sampler:
    """One file of `contract.samplers`; its name is that of the file."""

    record: type
    """The dataclass of a row. It has `at`, unix seconds, and where each load generator makes rows `worker`, its name or None."""
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
    """What a source gives, sample by sample, until `wait` (of so many seconds) returns something true.

    A sample begins `every_s` after the one before began. One that begins later than that by more than `every_s` was missed:
    this process was held up, and the source's `unknown` comes first.
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

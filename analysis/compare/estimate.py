"""What is kept of one run's number, so that it can be set against another's: the number, and what chance does to it."""

from dataclasses import dataclass, field

from analysis.judging.finding import Status


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantile, a rate or a median of pairs, with its bootstrap. The value is the one that reports show."""

    value: float
    n: int  # answers, gaps or pairs that it rests on
    parts: int  # of the run, taken for independent of each other: blocks of time, or pairs
    se: float  # the bootstrap's standard deviation
    again: tuple[float, ...] = ()  # the bootstrap's distribution: evenly spaced quantiles of it
    medians: tuple[float, ...] = ()  # of a p50: the median of each block
    low: float | None = None  # with the answers that overloaded seconds touched taken for 0
    high: float | None = None  # with them taken for endless; None: endless
    needs: int = 0  # so many n, or nothing can be told
    doubt: str | None = None  # why nothing can be told of it, whatever n


@dataclass(frozen=True, slots=True)
class Trials:
    """One value for each trial. A censored one is longer than its value, nobody saw how much."""

    values: tuple[float, ...]
    censored: tuple[bool, ...]
    unseen: int = 0  # trials that gave nothing


@dataclass(frozen=True, slots=True)
class Proportion:
    """Hits of asked. `design_effect`: by how much its variance is larger than that of independent requests."""

    hits: int
    total: int
    design_effect: float = 1.0
    doubtful: int = 0  # misses that an overloaded load generator may have made, and nobody else


Number = Estimate | Trials | Proportion


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of one run, by what it is a number of."""

    metric: str  # as tolerances name it
    statistic: str  # p50, p95, p99, median, share, rate
    of: str  # a tier, `all tiers`, or a step
    via: str  # gateway, or the tier that was asked directly; "" where the probe or a trial tells
    unit: str  # ms, s, share, tokens/s, answers/s, answers
    number: Number

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.metric, self.statistic, self.of, self.via


@dataclass(frozen=True, slots=True)
class Curve:
    """The distribution of one length, for a picture: evenly spaced quantiles, from the least to the most."""

    metric: str
    of: str
    via: str
    n: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """One finding of a verdict: see `analysis.judging.finding.Finding`."""

    name: str
    id: str | None
    target: str
    measured: str
    status: Status
    value: float | None
    unit: str | None
    n: int | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A run's verdict."""

    status: str
    exit_code: int
    findings: tuple[Kept, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """A plain number of one run, which is shown and not judged. None: nobody knows it."""

    what: str
    of: str
    value: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Side:
    """What is kept of one run. Verdict of None: it could not be made."""

    name: str
    conditions: dict[str, dict[str, object]]  # topic → field → value, see `likeness.conditions`
    notes: tuple[str, ...]  # what a reader must know: cut short, not restored, overloaded
    tiers: tuple[str, ...]
    samples: tuple[Sample, ...]
    curves: tuple[Curve, ...] = field(default=())
    verdict: Judgement | None = None
    counts: tuple[Count, ...] = ()

    def sample(self, key: tuple[str, str, str, str]) -> Sample | None:
        return next((s for s in self.samples if s.key == key), None)

"""The data kept of one run's numbers for a comparison: the number and its random variation."""

from dataclasses import dataclass, field

from analysis.judging.finding import Status


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantile, a rate or a median of pairs, with its bootstrap. The value is the one in reports."""

    value: float
    n: int  # answers, gaps or pairs that it rests on
    parts: int  # parts of the run that are assumed independent: blocks of time, or pairs
    se: float  # the bootstrap's standard deviation
    again: tuple[float, ...] = ()  # evenly spaced quantiles of the bootstrap's distribution
    medians: tuple[float, ...] = ()  # for a p50: the median of each block
    low: float | None = None  # with the answers touched by overloaded seconds taken as 0
    high: float | None = None  # with them taken as infinite; None: infinite
    needs: int = 0  # the minimum n of a comparison
    doubt: str | None = None  # why it cannot be compared, whatever n


@dataclass(frozen=True, slots=True)
class Trials:
    """One value for each trial. A censored one is longer than its value by an unknown time."""

    values: tuple[float, ...]
    censored: tuple[bool, ...]
    unseen: int = 0  # trials without a value


@dataclass(frozen=True, slots=True)
class Proportion:
    """Hits of a total. `design_effect`: the ratio of its variance to that of independent requests."""

    hits: int
    total: int
    design_effect: float = 1.0
    doubtful: int = 0  # misses that an overloaded load generator may have caused itself


Number = Estimate | Trials | Proportion


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of one run, with its key."""

    metric: str  # its name in tolerances
    statistic: str  # p50, p95, p99, median, share, rate
    of: str  # a tier, `all tiers`, or a step
    via: str  # gateway, or the tier for direct requests; "" for the probe and trials
    unit: str  # ms, s, share, tokens/s, answers/s, answers
    number: Number

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.metric, self.statistic, self.of, self.via


@dataclass(frozen=True, slots=True)
class Curve:
    """The distribution of one length, for a figure: evenly spaced quantiles, from minimum to maximum."""

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
    """A number of one run that is shown and not judged. None: unknown."""

    what: str
    of: str
    value: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Side:
    """The data kept of one run. A verdict of None: it could not be determined."""

    name: str
    conditions: dict[str, dict[str, object]]  # topic → field → value, see `likeness.conditions`
    notes: tuple[str, ...]  # problems: cut short, not restored, overloaded
    tiers: tuple[str, ...]
    samples: tuple[Sample, ...]
    curves: tuple[Curve, ...] = field(default=())
    verdict: Judgement | None = None
    counts: tuple[Count, ...] = ()

    def sample(self, key: tuple[str, str, str, str]) -> Sample | None:
        return next((s for s in self.samples if s.key == key), None)

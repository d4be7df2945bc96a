"""Two sides → of each metric what may be said: worse, slightly worse, better, no difference found, cannot tell. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import comb, inf, isfinite
from statistics import median

from analysis.compare import difference
from analysis.compare.difference import Difference
from analysis.compare.estimate import Estimate, Number, Proportion, Sample, Side, Trials
from analysis.compare.tolerance import BAD, GOOD, RATES, Tolerance, Tolerances
from contract.refusal import EXIT_FAIL, EXIT_PASS, EXIT_UNKNOWN

ALPHA = 1 - difference.CONFIDENCE


class Judged(StrEnum):
    """What may be said of one difference. Equality never is."""

    WORSE = "worse"  # beyond the tolerance
    SLIGHTLY_WORSE = "slightly worse"  # a difference was found, and that it is beyond the tolerance was not
    BETTER = "better"
    NO_DIFFERENCE = "no difference found"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of two runs. None: this run has no such number."""

    metric: str
    statistic: str
    of: str
    via: str
    unit: str
    a: Number | None
    b: Number | None
    tolerance: Tolerance
    found: Difference | None = None
    p: float | None = None  # after Holm
    judged: Judged = Judged.CANNOT_TELL
    why: str = ""  # in words, of a `cannot tell` and of what needs a word
    would_have_seen: float | None = None  # the least difference that would have been found, where none was

    @property
    def name(self) -> str:
        """`latency p50`, `overhead ttft median`, `continuity`, `answers/s`: as a reader says it."""
        words = self.metric.replace("_per_s", "/s").replace("_", " ")
        return words if self.statistic in ("rate", "share") else f"{words} {self.statistic}"

    @property
    def worse_if(self) -> int:
        """+1: more is worse; −1: less is."""
        return -1 if self.metric in (*GOOD, *RATES) else 1

    @property
    def may_grow_by(self) -> float:
        """The tolerance in the row's own unit."""
        return self.tolerance.of(value_of(self.a)) if self.a is not None else 0.0


def judge(a: Side, b: Side, tolerances: Tolerances) -> list[Row]:
    """Every metric of either side, in the order in which a reader looks for them.

    Many comparisons are made at once, so p is Holm's, over all answers' lengths and rates and the overhead (one family), over all
    trials (another), and over the proportions; each family finds a difference where there is none in at most one of twenty
    comparisons. `worse` needs besides that the 95 % interval lies wholly beyond the tolerance.
    """
    keys = dict.fromkeys(s.key for side in (a, b) for s in side.samples)
    rows = [_row(a.sample(key), b.sample(key), tolerances) for key in keys]
    rows = [r for r in rows if not _never_happened(r)]
    rows = [replace(r, why=why) if (why := _in_the_way(r)) else _measured(r) for r in rows]
    by_family: dict[type, list[int]] = {}
    for i, row in enumerate(rows):
        if row.found is not None:
            by_family.setdefault(type(row.a), []).append(i)
    same = a.name == b.name
    for places in by_family.values():
        ps = difference.holm([found.p for i in places if (found := rows[i].found) is not None])
        for i, p in zip(places, ps, strict=True):
            rows[i] = _judged(replace(rows[i], p=p), len(places), same)
    return rows


def exit_code(comparisons: Iterable[list[Row]]) -> int:
    """Of metrics: 1 where anything got worse beyond its tolerance; else 5 where of one of the runs nothing could be told; else 0.

    The comparison's own is the worst of this one and that of the expectations, 1 before 5 before 0.
    """
    codes = []
    for rows in comparisons:
        said = {r.judged for r in rows}
        codes.append(
            EXIT_FAIL if Judged.WORSE in said else EXIT_PASS if said - {Judged.CANNOT_TELL} else EXIT_UNKNOWN
        )
    return next((c for c in (EXIT_FAIL, EXIT_UNKNOWN) if c in codes), EXIT_PASS)


def value_of(number: Number) -> float:
    """The number itself: of trials the median, of a proportion the share."""
    if isinstance(number, Estimate):
        return number.value
    return median(number.values) if isinstance(number, Trials) else number.hits / number.total


def n_of(number: Number | None) -> int:
    if number is None:
        return 0
    if isinstance(number, Estimate):
        return number.n
    return len(number.values) if isinstance(number, Trials) else number.total


def _row(a: Sample | None, b: Sample | None, tolerances: Tolerances) -> Row:
    one = a or b
    assert one is not None
    return Row(
        one.metric, one.statistic, one.of, one.via, one.unit,
        None if a is None else a.number, None if b is None else b.number, tolerances[one.metric],
    )  # fmt: skip


def _never_happened(row: Row) -> bool:
    """A kind of failure that neither run had: nothing to compare, and no comparison that the others must pay for."""
    known = [n for n in (row.a, row.b) if isinstance(n, Proportion)]
    return row.metric in BAD and all(n.hits == 0 for n in known)


def _in_the_way(row: Row) -> str | None:
    """Why nothing can be told, whatever the numbers are; None: they can be looked at."""
    a, b = row.a, row.b
    if a is None or b is None:
        return f"only {'B' if a is None else 'A'} has it"
    if isinstance(a, Trials) and isinstance(b, Trials):
        n, m = len(a.values), len(b.values)
        if 2 / comb(n + m, n) > ALPHA:
            return f"needs {difference.trials_needed(ALPHA)} trials in each run; A has {n}, B {m}"
        return None
    if isinstance(a, Estimate) and isinstance(b, Estimate):
        if min(a.n, b.n) < a.needs:
            return f"needs {a.needs} in each run; A has {a.n}, B {b.n}"
        if min(a.parts, b.parts) < difference.parts_needed():
            return (
                f"needs {difference.parts_needed()} blocks of time in each run; A has {a.parts}, B {b.parts}"
            )
    for name, number in (("A", a), ("B", b)):
        why = _overloaded(number, row.may_grow_by)
        if why:
            return f"{name}: {why}"
    return None


def _overloaded(number: Number, tolerated: float) -> str | None:
    """An overloaded load generator: whether the answers that it touched could move the number by more than is tolerated."""
    if isinstance(number, Estimate):
        if number.doubt:
            return number.doubt
        if number.low is not None and (
            number.value - number.low > tolerated
            or (number.high if number.high is not None else inf) - number.value > tolerated
        ):
            return "rests on seconds in which the load generator was overloaded"
    if isinstance(number, Proportion) and number.doubtful / number.total > tolerated:
        return f"{number.doubtful} misses may be the overloaded load generator's own"
    return None


def _measured(row: Row) -> Row:
    a, b = row.a, row.b
    if isinstance(a, Estimate) and isinstance(b, Estimate):
        return replace(row, found=difference.of_estimates(a, b))
    if isinstance(a, Trials) and isinstance(b, Trials):
        return replace(row, found=difference.of_trials(a, b))
    assert isinstance(a, Proportion)
    assert isinstance(b, Proportion)
    return replace(row, found=difference.of_proportions(a, b))


def _judged(row: Row, at_once: int, same: bool) -> Row:
    """By Holm's p, and by where the interval lies; `at_once`: so many are looked at, `same`: both sides are one run."""
    found = row.found
    assert found is not None
    assert row.p is not None
    worst, least = (
        (found.high, found.low) if row.worse_if > 0 else (-found.low, -found.high)
    )  # of getting worse
    tolerated = row.may_grow_by
    seen = difference.would_have_seen(found, ALPHA / at_once)
    if row.p <= ALPHA and found.value * row.worse_if < 0:
        return replace(row, judged=Judged.BETTER)
    if row.p <= ALPHA:
        if least > tolerated:
            return replace(row, judged=Judged.WORSE)
        beyond = (
            "within the tolerance" if worst <= tolerated else "whether beyond the tolerance cannot be told"
        )
        return replace(row, judged=Judged.SLIGHTLY_WORSE, why=beyond)
    if worst <= tolerated or same:
        why = "it is the same run" if same else ""
        return replace(row, judged=Judged.NO_DIFFERENCE, would_have_seen=seen, why=why)
    return replace(row, judged=Judged.CANNOT_TELL, would_have_seen=seen, why=_too_wide(row, at_once, worst))


def _too_wide(row: Row, at_once: int, worst: float) -> str:
    """Neither a difference nor its absence was shown; and about how much would show one or the other."""
    a, b, found = row.a, row.b, row.found
    assert found is not None
    if isinstance(a, Trials) and isinstance(b, Trials):
        needed = difference.trials_needed(ALPHA / at_once)
        if min(len(a.values), len(b.values)) < needed:
            return f"needs {needed} trials in each run, as one of {at_once} comparisons"
        return "the trials lie too far apart"
    if found.low > 0 or found.high < 0:
        return f"looked at alone it would be a difference; it is one of {at_once} comparisons"
    half, tolerated = (found.high - found.low) / 2, row.may_grow_by
    if not isfinite(worst) or tolerated <= 0:
        return "the interval holds both no difference and one beyond the tolerance"
    times = (half / tolerated) ** 2
    return f"the interval is too wide for the tolerance: needs about {max(2, round(times))} times as much"

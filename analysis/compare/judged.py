"""Two sides → the result of each metric: worse, slightly worse, better, no difference found, cannot tell. Pure."""

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
    """The result of one comparison. Equality is never claimed."""

    WORSE = "worse"  # beyond the tolerance
    SLIGHTLY_WORSE = "slightly worse"  # a difference was found, but not that it is beyond the tolerance
    BETTER = "better"
    NO_DIFFERENCE = "no difference found"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of two runs. None: the run has no such number."""

    metric: str
    statistic: str
    of: str
    via: str
    unit: str
    a: Number | None
    b: Number | None
    tolerance: Tolerance
    found: Difference | None = None
    p: float | None = None  # after Holm's correction
    judged: Judged = Judged.CANNOT_TELL
    why: str = ""  # the reason, in words
    would_have_seen: float | None = None  # the difference that would have been found, if none was

    @property
    def name(self) -> str:
        """`latency p50`, `overhead ttft median`, `continuity`, `answers/s`: for people."""
        words = self.metric.replace("_per_s", "/s").replace("_", " ")
        return words if self.statistic in ("rate", "share") else f"{words} {self.statistic}"

    @property
    def worse_if(self) -> int:
        """+1: higher is worse; −1: lower is worse."""
        return -1 if self.metric in (*GOOD, *RATES) else 1

    @property
    def may_grow_by(self) -> float:
        """The tolerance in the row's unit."""
        return self.tolerance.of(value_of(self.a)) if self.a is not None else 0.0


def judge(a: Side, b: Side, tolerances: Tolerances) -> list[Row]:
    """Every metric of either side.

    Many comparisons are made at once, so p has Holm's correction, within each of three families: lengths and rates of answers and
    the overhead; trials; proportions. If nothing differs, each family finds a difference in at most one of twenty comparisons.
    `worse` also needs a 95 % interval that is entirely beyond the tolerance.
    """
    keys = dict.fromkeys(s.key for side in (a, b) for s in side.samples)
    rows = [_row(a.sample(key), b.sample(key), tolerances) for key in keys]
    rows = [r for r in rows if not _never_happened(r)]
    rows = [replace(r, why=why) if (why := _obstacle(r)) else _measured(r) for r in rows]
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
    """The exit code of metrics: 1 if one got worse beyond its tolerance; else 5 if in a comparison no metric could be judged; else 0.

    The comparison's exit code is the worst of this one and that of the expectations, 1 before 5 before 0.
    """
    codes = []
    for rows in comparisons:
        results = {r.judged for r in rows}
        codes.append(
            EXIT_FAIL
            if Judged.WORSE in results
            else EXIT_PASS
            if results - {Judged.CANNOT_TELL}
            else EXIT_UNKNOWN
        )
    return next((c for c in (EXIT_FAIL, EXIT_UNKNOWN) if c in codes), EXIT_PASS)


def value_of(number: Number) -> float:
    """The number itself: for trials the median, for a proportion the share."""
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
    """A kind of failure that neither run had: it is left out, so that it does not count in Holm's correction."""
    known = [n for n in (row.a, row.b) if isinstance(n, Proportion)]
    return row.metric in BAD and all(n.hits == 0 for n in known)


def _obstacle(row: Row) -> str | None:
    """Why the numbers cannot be compared; None: they can."""
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
    """Why overload makes the number unreliable: touched answers could change it by more than the tolerance. None: it is reliable."""
    if isinstance(number, Estimate):
        if number.doubt:
            return number.doubt
        if number.low is not None and (
            number.value - number.low > tolerated
            or (number.high if number.high is not None else inf) - number.value > tolerated
        ):
            return "rests on seconds in which the load generator was overloaded"
    if isinstance(number, Proportion) and number.doubtful / number.total > tolerated:
        return f"{number.doubtful} misses may be caused by the overloaded load generator"
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
    """The result by Holm's p and the interval. `at_once`: the number of comparisons, `same`: both sides are one run."""
    found = row.found
    assert found is not None
    assert row.p is not None
    worst, least = (
        (found.high, found.low) if row.worse_if > 0 else (-found.low, -found.high)
    )  # in the direction of worse
    tolerated = row.may_grow_by
    seen = difference.would_have_seen(found, ALPHA / at_once)
    if row.p <= ALPHA and found.value * row.worse_if < 0:
        return replace(row, judged=Judged.BETTER)
    if row.p <= ALPHA:
        if least > tolerated:
            return replace(row, judged=Judged.WORSE)
        beyond = (
            "within the tolerance"
            if worst <= tolerated
            else "it is unclear whether it is beyond the tolerance"
        )
        return replace(row, judged=Judged.SLIGHTLY_WORSE, why=beyond)
    if worst <= tolerated or same:
        why = "it is the same run" if same else ""
        return replace(row, judged=Judged.NO_DIFFERENCE, would_have_seen=seen, why=why)
    return replace(row, judged=Judged.CANNOT_TELL, would_have_seen=seen, why=_too_wide(row, at_once, worst))


def _too_wide(row: Row, at_once: int, worst: float) -> str:
    """Why neither a difference nor its absence was shown, and about how much data would show one."""
    a, b, found = row.a, row.b, row.found
    assert found is not None
    if isinstance(a, Trials) and isinstance(b, Trials):
        needed = difference.trials_needed(ALPHA / at_once)
        if min(len(a.values), len(b.values)) < needed:
            return f"needs {needed} trials in each run, as one of {at_once} comparisons"
        return "the trials vary too much"
    if found.low > 0 or found.high < 0:
        return f"significant on its own, but not as one of {at_once} comparisons"
    half, tolerated = (found.high - found.low) / 2, row.may_grow_by
    if not isfinite(worst) or tolerated <= 0:
        return "the interval includes both no difference and one beyond the tolerance"
    times = (half / tolerated) ** 2
    return (
        f"the interval is too wide for the tolerance: needs about {max(2, round(times))} times as much data"
    )

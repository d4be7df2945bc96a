"""The comparison of two runs. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from analysis.compare import expected
from analysis.compare.estimate import Count, Kept, Side
from analysis.compare.expected import Expected
from analysis.compare.judged import Judged, Row, exit_code, value_of
from analysis.compare.likeness import REFUSED, SHOWN, Unlike
from analysis.compare.tolerance import PROPORTIONS
from contract.refusal import EXIT_FAIL, EXIT_PASS, EXIT_UNKNOWN

FOUND = (Judged.WORSE, Judged.SLIGHTLY_WORSE, Judged.BETTER)
HEADLINES = ("p50", "median", "share", "rate")  # printed even if no difference was found
MOST_FIELDS = 12  # fields of a different configuration that are printed


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, the differences of their conditions, and the results."""

    a: Side
    b: Side
    unlike: Sequence[Unlike]
    rows: Sequence[Row]

    @property
    def expected(self) -> list[Expected]:
        return expected.judge(self.a, self.b)

    @property
    def exit_code(self) -> int:
        """1: an expectation went from pass to fail, or a metric got worse beyond its tolerance. 5: an expectation may have got worse
        (see `Expected.may_be_worse`), or no metric could be judged. 0: neither."""
        return worst([exit_code([list(self.rows)]), expected.exit_code(self.expected)])


def worst(codes: Iterable[int]) -> int:
    """Of several exit codes: 1 before 5 before 0."""
    given = set(codes)
    return next((c for c in (EXIT_FAIL, EXIT_UNKNOWN) if c in given), EXIT_PASS)


def value(number: float, unit: str) -> str:
    """`83.1 ms`, `1.24 s`, `99.12 %`, `33.4 tokens/s`"""
    if not isfinite(number):
        return "∞" if number > 0 else "−∞"
    size = abs(number)
    if unit == "share":
        return minus(f"{number * 100:.2f} %")
    if unit == "ms" and size >= 1000:
        number, unit, size = number / 1000, "s", size / 1000
    digits = 0 if size >= 100 or unit == "answers" else 1 if size >= 10 else 2
    return minus(f"{number:.{digits}f} {unit}")


def change(number: float, unit: str) -> str:
    """The same with its sign; for proportions, percentage points."""
    if unit == "share" and isfinite(number):
        return minus(f"{number * 100:+.2f} pp")
    text = value(number, unit)
    return text if number <= 0 else f"+{text}"


def heading(c: Comparison) -> list[str]:
    """The runs, their notes, and the differences of their conditions."""
    lines = [f"{name}: {_named(side)}" for name, side in (("A", c.a), ("B", c.b))]
    lines += [f"{name}: {note}" for name, side in (("A", c.a), ("B", c.b)) for note in side.notes]
    lines += [f"differs, and was allowed: {u.text}" for u in c.unlike if u.topic in REFUSED]
    shown = [u for u in c.unlike if u.topic in SHOWN]
    lines += [f"differs: {u.text}" for u in shown[:MOST_FIELDS]]
    if len(shown) > MOST_FIELDS:
        lines.append(f"and {len(shown) - MOST_FIELDS} more fields; comparison.json has them")
    return lines


def _named(side: Side) -> str:
    """`2026-11-28T060042Z-three_tier: pass, gateway litellm 1.106.2`"""
    judged = "verdict unknown" if side.verdict is None else side.verdict.status.replace("_", " ")
    return f"{side.name}: {judged}, gateway {side.conditions.get('versions', {}).get('gateway') or 'version unknown'}"


def differing(c: Comparison) -> list[tuple[Count, Count | None, Count | None]]:
    """(the count, in A, in B) of every count that differs."""
    of_a, of_b = ({(n.what, n.of): n for n in side} for side in (c.a.counts, c.b.counts))
    keys = dict.fromkeys([*of_a, *of_b])
    pairs = [(of_a.get(key), of_b.get(key)) for key in keys]
    return [(a or b, a, b) for a, b in pairs if number_of(a) != number_of(b) and (a or b)]  # type: ignore[misc]


def size(row: Row) -> float:
    """The difference relative to the baseline's value, to find the largest."""
    assert row.found is not None
    assert row.a is not None
    of = 0.01 if row.metric in PROPORTIONS else abs(value_of(row.a))
    return abs(row.found.value) / of if of else float("inf")


def status_word(kept: Kept | None) -> str:
    return expected.NEVER if kept is None else str(kept.status)


def number_of(count: Count | None) -> float | None:
    return None if count is None else count.value


def minus(text: str) -> str:
    return text.replace("-", "−")

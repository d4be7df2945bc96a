"""The comparison for people: on the terminal, and as comparison.md. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite

from analysis.compare.comparison import (
    FOUND,
    HEADLINES,
    Comparison,
    change,
    differing,
    heading,
    minus,
    number_of,
    size,
    status_word,
    value,
)
from analysis.compare.estimate import Count
from analysis.compare.expected import Expected
from analysis.compare.judged import Judged, Row, n_of, value_of
from analysis.reporting.formatting import UNKNOWN
from contract import printable

NUMBERS = ("A", "B", "B − A")  # columns of numbers
HEAD = ("metric", "of", "A", "B", "B − A", "95 % interval", "n", "")


def text(c: Comparison) -> str:
    """The text for the terminal: expectations, flips first; counts that differ; every metric with a difference, and the HEADLINES
    of the rest."""
    first = sorted((r for r in c.rows if r.judged in FOUND), key=lambda r: FOUND.index(r.judged))
    rest = [r for r in c.rows if r.judged is Judged.NO_DIFFERENCE and r.statistic in HEADLINES]
    lines = [*_flips(c), *heading(c)]
    if c.expected:
        lines += ["", *_aligned([EXPECTED_HEAD, *(_expected_cells(e) for e in c.expected)])]
    counts = differing(c)
    if counts:
        lines += ["", *_aligned([COUNT_HEAD, *map(_count_cells, counts)])]
    if first or rest:
        lines += ["", *_aligned([HEAD, *(_cells(r) for r in [*first, *rest])])]
    return "\n".join(map(printable.line, [*lines, "", *summing_up(c)]))


def summing_up(c: Comparison) -> list[str]:
    """The number of each result, the reasons of `cannot tell`, and the exit code."""
    lines = []
    for what, judged in (
        ("expectations", [e.judged for e in c.expected]),
        ("metrics", [r.judged for r in c.rows]),
    ):
        count = Counter(judged)
        results = ", ".join(f"{count[j]} {_word(j, what)}" for j in Judged if count[j])
        lines.append(f"{what}: {results or 'nothing to compare'}")
    whys = Counter(r.why for r in c.rows if r.judged is Judged.CANNOT_TELL)
    lines += [f"cannot tell ({n}): {why}" for why, n in whys.most_common(4)]
    return [*lines, f"{conclusion(c)} (exit code {c.exit_code})"]


def conclusion(c: Comparison) -> str:
    """`B fails what A passed: cloud_only_in_need, 0 leaks → 135 leaks. B is worse in 2 (most: …), of 31 metrics …`"""
    return ". ".join([*_flips(c), of_metrics(c)])


def _flips(c: Comparison) -> list[str]:
    """Expectations that went from pass to fail, from fail to pass, and that may have got worse: a sentence for each kind."""
    found = []
    for words, of in (
        ("B fails what A passed: {}", [e for e in c.expected if e.judged is Judged.WORSE]),
        ("B passes what A failed: {}", [e for e in c.expected if e.judged is Judged.BETTER]),
        ("B may have got worse: {}", [e for e in c.expected if e.may_be_worse]),
    ):
        if of:
            found.append(words.format("; ".join(f"{e.name}, {_moved(e)}" for e in of)))
    return found


def _moved(e: Expected) -> str:
    """`0 leaks → 135 leaks`, or why it cannot be compared."""
    if e.why or e.a is None or e.b is None:
        return e.why
    return f"{e.a.measured} → {e.b.measured}"


def of_metrics(c: Comparison) -> str:
    """`B is worse in 2 (most: latency p50 of all tiers, +52.1 ms), of 31 metrics that could be judged`"""
    known = [r for r in c.rows if r.judged is not Judged.CANNOT_TELL]
    if not known:
        return "No metric could be judged"
    parts = []
    for judged in FOUND:
        rows = [r for r in known if r.judged is judged]
        if rows:
            one = max(rows, key=size)
            assert one.found is not None
            parts.append(
                f"{judged} in {len(rows)} (most: {one.name} of {one.of}, {change(one.found.value, one.unit)})"
            )
    if not parts:
        return f"No difference found in the {len(known)} metrics that could be judged"
    return f"B is {', '.join(parts)}, of {len(known)} metrics that could be judged"


def markdown(c: Comparison) -> str:
    """comparison.md: every row."""
    lines = [f"# {c.a.name} and {c.b.name}", "", conclusion(c) + ".", "", *(f"- {x}" for x in heading(c)), ""]
    lines += [*(f"![{name}]({name}.png)" for name in ("differences", "latency", "trials")), ""]
    if c.expected:
        lines += ["## Expectations", "", *_table(EXPECTED_HEAD, map(_expected_cells, c.expected)), ""]
    counts = differing(c)
    if counts:
        lines += ["## Counts that differ", "", *_table(COUNT_HEAD, map(_count_cells, counts)), ""]
    for judged in Judged:
        rows = [r for r in c.rows if r.judged is judged]
        if rows:
            lines += [
                f"## {judged}: {len(rows)}",
                "",
                f"*{_MEANING[judged]}*",
                "",
                *_table(HEAD, map(_cells, rows)),
                "",
            ]
    lines += [
        "Each interval includes the difference with 95 %. The results are corrected for the number of comparisons (Holm). "
        "Definitions: docs/metrics.md, Comparison.", ""
    ]  # fmt: skip
    return "\n".join(map(printable.line, lines))


_MEANING = {
    Judged.WORSE: "A difference was found, and the whole interval is beyond the tolerance.",
    Judged.SLIGHTLY_WORSE: "A difference was found, but not that it is beyond the tolerance.",
    Judged.BETTER: "A difference was found.",
    Judged.NO_DIFFERENCE: "B is not worse by more than the tolerance. The last column shows the difference that "
    "would have been found with a power of 80 %: there may be a smaller one.",
    Judged.CANNOT_TELL: "Neither a difference nor its absence was shown.",
}
EXPECTED_HEAD = ("expectation", "A", "B", "measured in A", "measured in B", "")
COUNT_HEAD = ("count", "of", "A", "B", "B − A")


def _word(judged: Judged, what: str) -> str:
    """`the same` is used only for expectations: equality of a metric is never claimed."""
    return "the same" if what == "expectations" and judged is Judged.NO_DIFFERENCE else str(judged)


def _expected_cells(e: Expected) -> tuple[str, ...]:
    one = e.a or e.b
    name = f"{e.name} {one.id}" if one is not None and one.id else e.name
    measured = [UNKNOWN if kept is None else kept.measured for kept in (e.a, e.b)]
    judged = _word(e.judged, "expectations") + (f": {e.why}" if e.why else "")
    return (name, status_word(e.a), status_word(e.b), *measured, judged)


def _count_cells(of: tuple[Count, Count | None, Count | None]) -> tuple[str, ...]:
    which, *both = of
    a, b = map(number_of, both)
    digits = 1 if which.unit in ("ms", "s") else 0
    numbers = [UNKNOWN if n is None else f"{n:.{digits}f}" for n in (a, b)]
    by = UNKNOWN if a is None or b is None else minus(f"{b - a:+.{digits}f}")
    unit = "" if which.unit in ("requests", "answers") else f" ({which.unit})"
    return (which.what + unit, which.of, *numbers, by)


def _cells(row: Row) -> tuple[str, ...]:
    found = row.found
    a, b = (UNKNOWN if x is None else value(value_of(x), row.unit) for x in (row.a, row.b))
    by = UNKNOWN if found is None else change(found.value, row.unit)
    interval = UNKNOWN
    if found is not None:
        interval = f"[{change(found.low, row.unit)}, {change(found.high, row.unit)}]"
    result = str(row.judged)
    if row.judged is Judged.WORSE:
        result += f" by more than {row.tolerance.text}"
    elif row.judged is Judged.NO_DIFFERENCE:
        seen = row.would_have_seen
        result += (
            "" if not seen or not isfinite(seen) else f" (would have seen {value(seen, row.unit)})"
            if row.unit != "share" else f" (would have seen {seen * 100:.2f} pp)"
        )  # fmt: skip
    result += f": {row.why}" if row.why else ""
    of = f"{row.of}, direct" if row.via == row.of else row.of
    return (row.name, of, a, b, by, interval, f"{n_of(row.a)} / {n_of(row.b)}", result)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(c.ljust(w) for c, w in zip(r[:-1], widths, strict=True)), r[-1]]).rstrip() for r in rows
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---:' if h in NUMBERS else '---' for h in head)} |"]
    return [*lines, *(f"| {' | '.join(c.replace('|', '/') for c in cells)} |" for cells in rows)]

"""A comparison as people and programs read it: the terminal's table, comparison.md, comparison.csv, comparison.json."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from analysis.compare.estimate import Side
from analysis.compare.judged import Judged, Row, exit_code, n_of, value_of
from analysis.compare.likeness import REFUSED, SHOWN, Unlike
from analysis.compare.tolerance import PROPORTIONS
from analysis.words import UNKNOWN

FORMAT = 1
FOUND = (Judged.WORSE, Judged.SLIGHTLY_WORSE, Judged.BETTER)
HEADLINES = ("p50", "median", "share", "rate")  # of what no difference was found in, so much is printed
HEAD = ("metric", "of", "A", "B", "B − A", "95 % interval", "n", "")
MOST_FIELDS = 12  # of a configuration that differs


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, what differs in how they were made, and what was found."""

    a: Side
    b: Side
    unlike: Sequence[Unlike]
    rows: Sequence[Row]

    @property
    def exit_code(self) -> int:
        return exit_code([list(self.rows)])


def value(number: float, unit: str) -> str:
    """`83.1 ms`, `1.24 s`, `99.12 %`, `33.4 tokens/s`"""
    if not isfinite(number):
        return "endless" if number > 0 else "−endless"
    size = abs(number)
    if unit == "share":
        return _minus(f"{number * 100:.2f} %")
    if unit == "ms" and size >= 1000:
        number, unit, size = number / 1000, "s", size / 1000
    digits = 0 if size >= 100 or unit == "answers" else 1 if size >= 10 else 2
    return _minus(f"{number:.{digits}f} {unit}")


def change(number: float, unit: str) -> str:
    """The same with its sign; of proportions, percentage points."""
    if unit == "share" and isfinite(number):
        return _minus(f"{number * 100:+.2f} pp")
    told = value(number, unit)
    return told if number <= 0 else f"+{told}"


def heading(c: Comparison) -> list[str]:
    """Which runs these are, what must be known of them, and what differs in how they were made."""
    lines = [f"A: {c.a.name}", f"B: {c.b.name}"]
    lines += [f"{name}: {note}" for name, side in (("A", c.a), ("B", c.b)) for note in side.notes]
    lines += [f"differs, and was let pass: {u.text}" for u in c.unlike if u.topic in REFUSED]
    shown = [u for u in c.unlike if u.topic in SHOWN]
    lines += [f"differs: {u.text}" for u in shown[:MOST_FIELDS]]
    if len(shown) > MOST_FIELDS:
        lines.append(f"and {len(shown) - MOST_FIELDS} more fields; comparison.json has them")
    return lines


def text(c: Comparison) -> str:
    """The table on the terminal: every difference that was found, and of the rest what a reader looks for first."""
    first = [r for r in c.rows if r.judged in FOUND]
    rest = [r for r in c.rows if r.judged is Judged.NO_DIFFERENCE and r.statistic in HEADLINES]
    lines = heading(c)
    if first or rest:
        lines += ["", *_aligned([HEAD, *(_cells(r) for r in [*first, *rest])])]
    return "\n".join([*lines, "", *summing_up(c)])


def summing_up(c: Comparison) -> list[str]:
    """How many of each, why nothing could be told of the rest, and the exit code."""
    count = Counter(r.judged for r in c.rows)
    lines = [", ".join(f"{count[j]} {j}" for j in Judged if count[j]) or "nothing to compare"]
    whys = Counter(r.why for r in c.rows if r.judged is Judged.CANNOT_TELL)
    lines += [f"cannot tell ({n}): {why}" for why, n in whys.most_common(4)]
    return [*lines, f"{says(c)} (exit code {c.exit_code})"]


def says(c: Comparison) -> str:
    """`B is worse in 2 of 31 that could be told: latency p50 of all tiers +52.1 ms, …`"""
    told = [r for r in c.rows if r.judged is not Judged.CANNOT_TELL]
    if not told:
        return "Nothing could be told"
    parts = []
    for judged in FOUND:
        rows = [r for r in told if r.judged is judged]
        if rows:
            one = max(rows, key=_size)
            assert one.found is not None
            parts.append(
                f"{judged} in {len(rows)} (most: {one.name} of {one.of}, {change(one.found.value, one.unit)})"
            )
    if not parts:
        return f"No difference found in the {len(told)} that could be told"
    return f"B is {', '.join(parts)}, of {len(told)} that could be told"


def markdown(c: Comparison) -> str:
    """comparison.md: every row."""
    lines = [f"# {c.a.name} and {c.b.name}", "", says(c) + ".", "", *(f"- {x}" for x in heading(c)), ""]
    lines += [*(f"![{name}]({name}.png)" for name in ("differences", "latency", "trials")), ""]
    for judged in Judged:
        rows = [r for r in c.rows if r.judged is judged]
        if rows:
            lines += [f"## {judged}: {len(rows)}", "", f"*{_MEANING[judged]}*", "", *_table(rows), ""]
    lines += [
        "The intervals hold each difference with 95 %; what was found stands although so many were looked at (Holm). "
        "How each is worked out: docs/metrics.md, Comparison.", ""
    ]  # fmt: skip
    return "\n".join(lines)


_MEANING = {
    Judged.WORSE: "The difference was found, and the whole interval lies beyond the tolerance.",
    Judged.SLIGHTLY_WORSE: "A difference was found; that it is beyond the tolerance was not.",
    Judged.BETTER: "A difference was found.",
    Judged.NO_DIFFERENCE: "Nor is B worse by more than the tolerance. The last column says how large a difference "
    "would have been found four times in five: a smaller one may be there.",
    Judged.CANNOT_TELL: "Neither a difference nor its absence was shown.",
}

COLUMNS = (
    "metric", "statistic", "of", "via", "unit", "judged", "a", "b", "difference", "low", "high", "n_a", "n_b", "p", "p_holm",
    "method", "tolerance", "would_have_seen", "why",
)  # fmt: skip


def record(row: Row) -> dict[str, Any]:
    """One row of comparison.csv, and one entry of `rows` in comparison.json; see `as_json`."""
    found = row.found
    return {
        "metric": row.metric, "statistic": row.statistic, "of": row.of, "via": row.via or None, "unit": row.unit,
        "judged": str(row.judged), "a": None if row.a is None else value_of(row.a),
        "b": None if row.b is None else value_of(row.b), "difference": _finite(None if found is None else found.value),
        "low": _finite(None if found is None else found.low), "high": _finite(None if found is None else found.high), "n_a": n_of(row.a),
        "n_b": n_of(row.b), "p": None if found is None else found.p, "p_holm": row.p, "method": None if found is None else found.method,
        "tolerance": row.tolerance.text, "would_have_seen": _finite(row.would_have_seen), "why": row.why or None,
    }  # fmt: skip


def as_csv(c: Comparison) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(record(r) for r in c.rows)
    return out.getvalue()


def as_json(c: Comparison) -> str:
    """comparison.json, field by field:

    `format` 1 · `a`, `b` the runs: `name`, `notes` what must be known of them · `says` in one sentence · `exit_code` 1 something got
    worse beyond its tolerance, 5 nothing could be told, 0 neither · `unlike` what differs in how they were made: `topic`, `field`,
    `a`, `b` · `rows`: `metric`, `statistic`, `of` (a tier, `all tiers`, a step), `via`, `unit` · `judged` worse, slightly worse, better, no difference found,
    cannot tell · `a`, `b` the numbers · `difference` B − A, its 95 % interval `low` to `high` (null: endless) · `n_a`, `n_b` answers,
    gaps, pairs or trials · `p`, and as Holm has it `p_holm` · `method` · `tolerance` as given ·
    `would_have_seen` the least difference that would have been found four times in five · `why` of what cannot be told.
    null is "nobody knows"; it is never 0.
    """
    data = {
        "format": FORMAT,
        "a": {"name": c.a.name, "notes": list(c.a.notes)},
        "b": {"name": c.b.name, "notes": list(c.b.notes)},
        "says": says(c),
        "exit_code": c.exit_code,
        "unlike": [{"topic": u.topic, "field": u.field, "a": u.a, "b": u.b} for u in c.unlike],
        "rows": [record(r) for r in c.rows],
    }
    return json.dumps(data, indent=1) + "\n"


def _finite(number: float | None) -> float | None:
    return number if number is not None and isfinite(number) else None


def _size(row: Row) -> float:
    """How large a difference is beside the baseline's value: to name the largest one."""
    assert row.found is not None
    assert row.a is not None
    of = 0.01 if row.metric in PROPORTIONS else abs(value_of(row.a))
    return abs(row.found.value) / of if of else float("inf")


def _cells(row: Row) -> tuple[str, ...]:
    found = row.found
    a, b = (UNKNOWN if x is None else value(value_of(x), row.unit) for x in (row.a, row.b))
    by = UNKNOWN if found is None else change(found.value, row.unit)
    interval = UNKNOWN
    if found is not None:
        interval = f"[{change(found.low, row.unit)}, {change(found.high, row.unit)}]"
    told = str(row.judged)
    if row.judged is Judged.WORSE:
        told += f" by more than {row.tolerance.text}"
    elif row.judged is Judged.NO_DIFFERENCE:
        seen = row.would_have_seen
        told += (
            "" if not seen or not isfinite(seen) else f" (would have seen {value(seen, row.unit)})"
            if row.unit != "share" else f" (would have seen {seen * 100:.2f} pp)"
        )  # fmt: skip
    told += f": {row.why}" if row.why else ""
    of = f"{row.of}, direct" if row.via == row.of else row.of
    return (row.name, of, a, b, by, interval, f"{n_of(row.a)} / {n_of(row.b)}", told)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEAD) - 1)]
    return [
        "  ".join([*(c.ljust(w) for c, w in zip(r[:-1], widths, strict=True)), r[-1]]).rstrip() for r in rows
    ]


def _table(rows: Iterable[Row]) -> list[str]:
    lines = [f"| {' | '.join(HEAD)} |", "| --- | --- | ---: | ---: | ---: | --- | --- | --- |"]
    return [*lines, *(f"| {' | '.join(c.replace('|', '/') for c in _cells(r))} |" for r in rows)]


def _minus(text: str) -> str:
    return text.replace("-", "−")

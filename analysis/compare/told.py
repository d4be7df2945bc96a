"""A comparison as people and programs read it: the terminal's table, comparison.md, comparison.csv, comparison.json."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from analysis.compare import expected
from analysis.compare.estimate import Count, Kept, Side
from analysis.compare.expected import Expected
from analysis.compare.judged import Judged, Row, exit_code, n_of, value_of
from analysis.compare.likeness import REFUSED, SHOWN, Unlike
from analysis.compare.tolerance import PROPORTIONS
from analysis.words import UNKNOWN
from contract.refusal import EXIT_FAIL, EXIT_PASS, EXIT_UNKNOWN

FORMAT = 2
"""Of comparison.json. 1: the first. 2: it has the verdicts, the expectations and the counts of both."""
FOUND = (Judged.WORSE, Judged.SLIGHTLY_WORSE, Judged.BETTER)
HEADLINES = ("p50", "median", "share", "rate")  # of what no difference was found in, so much is printed
NUMBERS = ("A", "B", "B − A")  # columns of numbers
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
    def expected(self) -> list[Expected]:
        return expected.judge(self.a, self.b)

    @property
    def exit_code(self) -> int:
        """1: an expectation went from pass to fail, or a metric got worse beyond its tolerance. 5: else, where one may have
        and nobody can tell (see `Expected.may_be_worse`), or where of no metric anything could be told. 0: none of these."""
        return worst([exit_code([list(self.rows)]), expected.exit_code(self.expected)])


def worst(codes: Iterable[int]) -> int:
    """Of several exit codes: 1 before 5 before 0."""
    given = set(codes)
    return next((c for c in (EXIT_FAIL, EXIT_UNKNOWN) if c in given), EXIT_PASS)


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
    lines = [f"{name}: {_named(side)}" for name, side in (("A", c.a), ("B", c.b))]
    lines += [f"{name}: {note}" for name, side in (("A", c.a), ("B", c.b)) for note in side.notes]
    lines += [f"differs, and was let pass: {u.text}" for u in c.unlike if u.topic in REFUSED]
    shown = [u for u in c.unlike if u.topic in SHOWN]
    lines += [f"differs: {u.text}" for u in shown[:MOST_FIELDS]]
    if len(shown) > MOST_FIELDS:
        lines.append(f"and {len(shown) - MOST_FIELDS} more fields; comparison.json has them")
    return lines


def _named(side: Side) -> str:
    """`2026-11-28T060042Z-three_tier: pass, gateway litellm 1.106.2`"""
    judged = "verdict unknown" if side.verdict is None else side.verdict.status.replace("_", " ")
    return f"{side.name}: {judged}, gateway {side.conditions.get('versions', {}).get('gateway') or 'version unknown'}"


def text(c: Comparison) -> str:
    """On the terminal: expectations, flips first; counts that differ; then every difference of a metric that was found, and
    of the rest what a reader looks for first."""
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
    return "\n".join([*lines, "", *summing_up(c)])


def summing_up(c: Comparison) -> list[str]:
    """How many of each, why nothing could be told of the rest, and the exit code."""
    lines = []
    for what, judged in (
        ("expectations", [e.judged for e in c.expected]),
        ("metrics", [r.judged for r in c.rows]),
    ):
        count = Counter(judged)
        said = ", ".join(f"{count[j]} {_word(j, what)}" for j in Judged if count[j])
        lines.append(f"{what}: {said or 'nothing to compare'}")
    whys = Counter(r.why for r in c.rows if r.judged is Judged.CANNOT_TELL)
    lines += [f"cannot tell ({n}): {why}" for why, n in whys.most_common(4)]
    return [*lines, f"{says(c)} (exit code {c.exit_code})"]


def says(c: Comparison) -> str:
    """`B fails what A passed: cloud_only_in_need, 0 leaks → 135 leaks. B is worse in 2 (most: …), of 31 metrics that could be told`"""
    return ". ".join([*_flips(c), of_metrics(c)])


def _flips(c: Comparison) -> list[str]:
    """What went from pass to fail, what from fail to pass, and what may have got worse: a sentence for each kind that there is."""
    found = []
    for words, of in (
        ("B fails what A passed: {}", [e for e in c.expected if e.judged is Judged.WORSE]),
        ("B passes what A failed: {}", [e for e in c.expected if e.judged is Judged.BETTER]),
        ("Whether B got worse cannot be told: {}", [e for e in c.expected if e.may_be_worse]),
    ):
        if of:
            found.append(words.format("; ".join(f"{e.name}, {_moved(e)}" for e in of)))
    return found


def _moved(e: Expected) -> str:
    """`0 leaks → 135 leaks`, or why it cannot be told."""
    if e.why or e.a is None or e.b is None:
        return e.why
    return f"{e.a.measured} → {e.b.measured}"


def of_metrics(c: Comparison) -> str:
    """`B is worse in 2 (most: latency p50 of all tiers, +52.1 ms), of 31 metrics that could be told`"""
    told = [r for r in c.rows if r.judged is not Judged.CANNOT_TELL]
    if not told:
        return "Nothing could be told of the metrics"
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
        return f"No difference found in the {len(told)} metrics that could be told"
    return f"B is {', '.join(parts)}, of {len(told)} metrics that could be told"


def differing(c: Comparison) -> list[tuple[Count, Count | None, Count | None]]:
    """(which, in A, in B) of every count that is not the same in both; none where one side keeps no counts."""
    if c.a.counts is None or c.b.counts is None:
        return []
    of_a, of_b = ({(n.what, n.of): n for n in side} for side in (c.a.counts, c.b.counts))
    keys = dict.fromkeys([*of_a, *of_b])
    pairs = [(of_a.get(key), of_b.get(key)) for key in keys]
    return [(a or b, a, b) for a, b in pairs if _number_of(a) != _number_of(b) and (a or b)]  # type: ignore[misc]


def markdown(c: Comparison) -> str:
    """comparison.md: every row."""
    lines = [f"# {c.a.name} and {c.b.name}", "", says(c) + ".", "", *(f"- {x}" for x in heading(c)), ""]
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
    writer.writerows(_of_expected(e) for e in c.expected)
    writer.writerows(record(r) for r in c.rows)
    return out.getvalue()


def as_json(c: Comparison) -> str:
    """comparison.json, field by field:

    `format` 2 · `a`, `b` the runs: `name`, `notes` what must be known of them, `verdict` and `verdict_exit_code` of each · `says` in a
    sentence or a few · `exit_code` 1 an expectation went from pass to fail, or a metric got worse beyond its tolerance; 5 one may have
    and nobody can tell, or of no metric anything could be told; 0 neither · `expectations`, flips first: `name`, `judged`, `why` of what
    cannot be told, `may_be_worse`, and of `a` and `b` (null: it was not asked that) `id`, `status`, `measured`, `target`, `value`, `unit`,
    `n` · `counts` that are shown and not judged: `what`, `of`, `unit`, `a`, `b` · `unlike` what differs in how they were made: `topic`, `field`,
    `a`, `b` · `rows`: `metric`, `statistic`, `of` (a tier, `all tiers`, a step), `via`, `unit` · `judged` worse, slightly worse, better, no difference found,
    cannot tell · `a`, `b` the numbers · `difference` B − A, its 95 % interval `low` to `high` (null: endless) · `n_a`, `n_b` answers,
    gaps, pairs or trials · `p`, and as Holm has it `p_holm` · `method` · `tolerance` as given ·
    `would_have_seen` the least difference that would have been found four times in five · `why` of what cannot be told.
    null is "nobody knows"; it is never 0.
    """
    data = {
        "format": FORMAT,
        "a": _side(c.a),
        "b": _side(c.b),
        "says": says(c),
        "exit_code": c.exit_code,
        "unlike": [{"topic": u.topic, "field": u.field, "a": u.a, "b": u.b} for u in c.unlike],
        "expectations": [
            {
                "name": e.name,
                "judged": str(e.judged),
                "why": e.why or None,
                "may_be_worse": e.may_be_worse,
                "a": _kept(e.a),
                "b": _kept(e.b),
            }
            for e in c.expected
        ],
        "counts": _counts(c),
        "rows": [record(r) for r in c.rows],
    }
    return json.dumps(data, indent=1) + "\n"


def _side(side: Side) -> dict[str, Any]:
    judged = side.verdict
    return {
        "name": side.name,
        "notes": list(side.notes),
        "verdict": None if judged is None else judged.status,
        "verdict_exit_code": None if judged is None else judged.exit_code,
    }


def _kept(kept: Kept | None) -> dict[str, Any] | None:
    return None if kept is None else asdict(kept) | {"value": _finite(kept.value)}


def _counts(c: Comparison) -> list[dict[str, Any]] | None:
    """Every count of either side; None where a side keeps none."""
    if c.a.counts is None or c.b.counts is None:
        return None
    of_a, of_b = ({(n.what, n.of, n.unit): n.value for n in side} for side in (c.a.counts, c.b.counts))
    return [
        {
            "what": what,
            "of": of,
            "unit": unit,
            "a": of_a.get((what, of, unit)),
            "b": of_b.get((what, of, unit)),
        }
        for what, of, unit in dict.fromkeys([*of_a, *of_b])
    ]


def _of_expected(e: Expected) -> dict[str, Any]:
    """An expectation as a row of comparison.csv: its numbers, and in `why` how the verdict moved."""
    a, b = e.a, e.b
    one = a or b
    difference = None if a is None or b is None or a.value is None or b.value is None else b.value - a.value
    return dict.fromkeys(COLUMNS) | {
        "metric": e.name, "statistic": "verdict", "of": "run", "unit": None if one is None else one.unit,
        "judged": str(e.judged), "a": None if a is None else a.value, "b": None if b is None else b.value,
        "difference": difference, "n_a": None if a is None else a.n, "n_b": None if b is None else b.n,
        "why": f"{_status(a)} → {_status(b)}" + (f": {e.why}" if e.why else ""),
    }  # fmt: skip


def _finite(number: float | None) -> float | None:
    return number if number is not None and isfinite(number) else None


def _size(row: Row) -> float:
    """How large a difference is beside the baseline's value: to name the largest one."""
    assert row.found is not None
    assert row.a is not None
    of = 0.01 if row.metric in PROPORTIONS else abs(value_of(row.a))
    return abs(row.found.value) / of if of else float("inf")


EXPECTED_HEAD = ("expectation", "A", "B", "measured in A", "measured in B", "")
COUNT_HEAD = ("count", "of", "A", "B", "B − A")


def _status(kept: Kept | None) -> str:
    return expected.NEVER if kept is None else str(kept.status)


def _word(judged: Judged, what: str) -> str:
    """Of a verdict it is known that it is the same; of a metric never."""
    return "the same" if what == "expectations" and judged is Judged.NO_DIFFERENCE else str(judged)


def _expected_cells(e: Expected) -> tuple[str, ...]:
    one = e.a or e.b
    name = f"{e.name} {one.id}" if one is not None and one.id else e.name
    measured = [UNKNOWN if kept is None else kept.measured for kept in (e.a, e.b)]
    judged = _word(e.judged, "expectations") + (f": {e.why}" if e.why else "")
    return (name, _status(e.a), _status(e.b), *measured, judged)


def _number_of(count: Count | None) -> float | None:
    return None if count is None else count.value


def _count_cells(of: tuple[Count, Count | None, Count | None]) -> tuple[str, ...]:
    which, *both = of
    a, b = map(_number_of, both)
    digits = 1 if which.unit in ("ms", "s") else 0
    numbers = [UNKNOWN if n is None else f"{n:.{digits}f}" for n in (a, b)]
    by = UNKNOWN if a is None or b is None else _minus(f"{b - a:+.{digits}f}")
    unit = "" if which.unit in ("asks", "answers") else f" ({which.unit})"
    return (which.what + unit, which.of, *numbers, by)


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
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(c.ljust(w) for c, w in zip(r[:-1], widths, strict=True)), r[-1]]).rstrip() for r in rows
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---:' if h in NUMBERS else '---' for h in head)} |"]
    return [*lines, *(f"| {' | '.join(c.replace('|', '/') for c in cells)} |" for cells in rows)]


def _minus(text: str) -> str:
    return text.replace("-", "−")

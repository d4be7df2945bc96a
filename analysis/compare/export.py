"""The machine-readable comparison: comparison.json and comparison.csv. Pure."""

import csv
import io
import json
from dataclasses import asdict
from math import isfinite
from typing import Any

from analysis.compare.comparison import Comparison, status_word
from analysis.compare.estimate import Kept, Side
from analysis.compare.expected import Expected
from analysis.compare.judged import Row, n_of, value_of
from analysis.compare.summary import conclusion
from contract.spreadsheet import line_cell

FORMAT = 3
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
    for row in (*map(_of_expected, c.expected), *map(record, c.rows)):
        writer.writerow({name: line_cell(value) for name, value in row.items()})
    return out.getvalue()


def as_json(c: Comparison) -> str:
    """comparison.json, field by field:

    `format` 3 · `a`, `b` the runs: `name`, `notes` on their problems, `verdict` and `verdict_exit_code` · `conclusion` a summary in
    sentences · `exit_code` 1 an expectation went from pass to fail, or a metric got worse beyond its tolerance; 5 one may have, or
    no metric could be judged; 0 neither · `expectations`, flips first: `name`, `judged`, `why` (if it cannot be compared),
    `may_be_worse`, and for `a` and `b` (null: the run does not have it) `id`, `status`, `measured`, `target`, `value`, `unit`, `n` ·
    `counts`, shown and not judged: `what`, `of`, `unit`, `a`, `b` · `unlike` the differences of their conditions: `topic`, `field`,
    `a`, `b` · `rows`: `metric`, `statistic`, `of` (a tier, `all tiers`, a step), `via`, `unit` · `judged` worse, slightly worse,
    better, no difference found, cannot tell · `a`, `b` the numbers · `difference` B − A, its 95 % interval `low` to `high` (null:
    infinite) · `n_a`, `n_b` answers, gaps, pairs or trials · `p`, and after Holm's correction `p_holm` · `method` · `tolerance` as
    given · `would_have_seen` the difference that would have been found with a power of 80 % · `why` it cannot be compared.
    null means unknown, never 0.
    """
    data = {
        "format": FORMAT,
        "a": _side(c.a),
        "b": _side(c.b),
        "conclusion": conclusion(c),
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


def _counts(c: Comparison) -> list[dict[str, Any]]:
    """Every count of either side."""
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
    """An expectation as a row of comparison.csv: its numbers, and in `why` the change of its status."""
    a, b = e.a, e.b
    one = a or b
    difference = None if a is None or b is None or a.value is None or b.value is None else b.value - a.value
    return dict.fromkeys(COLUMNS) | {
        "metric": e.name, "statistic": "verdict", "of": "run", "unit": None if one is None else one.unit,
        "judged": str(e.judged), "a": None if a is None else a.value, "b": None if b is None else b.value,
        "difference": difference, "n_a": None if a is None else a.n, "n_b": None if b is None else b.n,
        "why": f"{status_word(a)} → {status_word(b)}" + (f": {e.why}" if e.why else ""),
    }  # fmt: skip


def _finite(number: float | None) -> float | None:
    return number if number is not None and isfinite(number) else None

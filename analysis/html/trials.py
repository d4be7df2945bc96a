"""The part of the page per trial: what users saw of each fault, and the statistics of repeated trials."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.evidence import Evidence
from analysis.html.anchors import metric
from analysis.html.table import Cell, Column, Table, cell
from analysis.metrics.trials import Value, summarise
from analysis.metrics.windows import Trial, instant
from analysis.reporting import restores
from analysis.reporting.formatting import UNKNOWN, length, ms, sent
from analysis.reporting.tables import by_part

Row = dict[Any, Any]


def tables(run: Evidence, failovers: pd.DataFrame, phases: pd.DataFrame) -> list[Table]:
    """`failovers` and `phases`: as in failover.csv and phases.csv."""
    rows = [_plain(row) for row in failovers.to_dict("records")]
    found = [_seen(run, rows), _faults(run, rows)]
    if any(row["trial"] > 1 for row in rows):
        found.insert(0, _repeated(rows))
    return [*found, _parts(by_part(run)), _phases(phases)]


def _plain(row: Row) -> Row:
    """The row with None for missing values."""
    return {
        name: None if value is None or value != value or value is pd.NA else value
        for name, value in row.items()
    }


def _trial(run: Evidence, row: Row) -> Cell:
    name = f"{row['step']} #{row['trial']}"
    trial = _trial_of(run, row)
    if trial.gone_from is None:
        return Cell(name)
    start = run.frames.started_at
    return Cell(name, span=(trial.gone_from - start, trial.gone_until - start))


def _trial_of(run: Evidence, row: Row) -> Trial:
    return next(t for t in run.trials if (t.step, t.trial) == (row["step"], row["trial"]))


def _repeated(rows: Sequence[Row]) -> Table:
    """Over the trials of each step."""
    out = []
    for step in dict.fromkeys(row["step"] for row in rows):
        mine = [row for row in rows if row["step"] == step]
        failover = [Value(step, r["trial"], r["failover_s"], why=r["failover_doubt"]) for r in mine]
        recovery = [
            Value(step, r["trial"], r["recovery_s"], bool(r["recovery_censored"]), r["recovery_doubt"])
            for r in mine
        ]
        detection = [Value(step, r["trial"], r["detection_s"]) for r in mine]
        down = [Value(step, r["trial"], r["unavailable_s"]) for r in mine]
        cuts = [Value(step, r["trial"], r["cuts"]) for r in mine]
        out.append(
            [Cell(step), cell(len(mine)), *(Cell(_text(v)) for v in (failover, detection, down, recovery)),
             Cell(_text(cuts, "cuts"))]
        )  # fmt: skip
    return Table(
        "Repeated trials of one step: median, its exact 95 % interval (from six trials), and the maximum. "
        "Censored: longer than what was seen.",
        [
            Column("step", metric("Repeated trials"), number=False), Column("trials"),
            Column("failover", metric("Failover"), number=False), Column("detection", metric("Detection"), number=False),
            Column("unavailable", metric("Unavailability"), number=False), Column("recovery", metric("Recovery"), number=False),
            Column("cuts", metric("Cuts and stalls"), number=False),
        ],
        out,
    )  # fmt: skip


def _text(values: Sequence[Value], unit: str = "s") -> str:
    seen = summarise(values)
    text = seen.text(unit)
    return f"{text}; {seen.unseen} unknown" if seen.unseen and seen.n else text


def _seen(run: Evidence, rows: Sequence[Row]) -> Table:
    """What users saw."""
    out = []
    for row in rows:
        by = row["first_answer_by"]
        out.append(
            [
                _trial(run, row), Cell(f"{row['fault']} on {row['target']}"),
                _after(row["lost_after_s"], row["lost_evidence"], "nothing showed a loss"),
                _doubted(row["failover_s"], row["failover_doubt"], "no other answer was seen" if row["lost_at"] else ""),
                Cell(by, tier=by) if by else cell(None),
                cell(row["cuts"]), cell(row["stalls"]), _recovery(row), cell(row["unavailable_s"], "{:.2f} s"),
                cell(row["worst_10_s"], "{:.2f} s"), _gap(row, "new"), _gap(row, "kept"), _detection(row), _brown(row),
                cell(row["unprobed_s"], "{:.1f} s"),
            ]
        )  # fmt: skip
    gap, down = metric("Failover gap"), metric("Unavailability")
    return Table(
        "What users saw of each trial. Click a trial's name to show it in the timeline. > : longer than this, the end was not seen. "
        "A gap is between two bounds, because the probe sees nothing between two of its requests; the lower bound is certain. "
        f"{UNKNOWN}: not seen.",
        [
            Column("trial", number=False), Column("fault", number=False), Column("lost, after commanded", metric("Lost")),
            Column("failover", metric("Failover")), Column("first answer by", metric("Failover"), number=False),
            Column("cuts", metric("Cuts and stalls")), Column("stalls", metric("Cuts and stalls")),
            Column("recovery", metric("Recovery")), Column("unavailable", down), Column("worst 10 s", down),
            Column("gap, new connections", gap), Column("gap, kept connections", gap),
            Column("detection (by ledger)", metric("Detection")), Column("slow", metric("Brown-outs")),
            Column("probe silent", down),
        ],
        out,
        empty="No fault was injected.",
    )  # fmt: skip


def _faults(run: Evidence, rows: Sequence[Row]) -> Table:
    """What the chaos controller did."""
    out = [
        [
            _trial(run, row), Cell(f"{row['fault']} on {row['target']}"),
            Cell(instant(row["commanded_at"], run.frames.started_at)), cell(row["effective_s"], "{:.2f} s"),
            _restore(run, row), cell(row["restored_by"]),
        ]
        for row in rows
    ]  # fmt: skip
    about = metric("Phases")
    return Table(
        "What the chaos controller did in each trial.",
        [
            Column("trial", number=False), Column("fault", number=False), Column("commanded", about),
            Column("effective after", about), Column("restore verified after", about), Column("restored by", number=False),
        ],
        out,
        empty="No fault was injected.",
        folded=True,
    )  # fmt: skip


def _restore(run: Evidence, row: Row) -> Cell:
    trial = _trial_of(run, row)
    more = restores.remarks(run, trial)
    if trial.restored_at is None:
        return Cell("not verified", bold=True, more=more)
    return Cell(UNKNOWN if row["restore_s"] is None else length(row["restore_s"]), more=more)


_COUNTED = (
    "Each request counts in one row: in the window (inject begun → restore verified) of the first fault that overlaps it, from "
    "sent to end; else in the part in which it was sent. Latency and TTFT are of the good answers to requests that were sent "
    "in the part."
)


def _outcomes() -> list[Column]:
    cuts = metric("Cuts and stalls")
    return [
        Column("requests", metric("Parts of a run")), Column("good"), Column("failed"), Column("cut", cuts), Column("stalled", cuts),
        Column("abandoned"),
    ]  # fmt: skip


def _outcome_cells(row: Row) -> list[Cell]:
    failed = row["requests"] - row["good"] - row["cut"] - row["stalled"] - row["abandoned"]
    return [
        cell(n) for n in (row["requests"], row["good"], failed, row["cut"], row["stalled"], row["abandoned"])
    ]


def _parts(parts: pd.DataFrame) -> Table:
    rows = [
        [
            Cell(row["part"], bold=row["part"] == "all"), *_outcome_cells(row), cell(row["continuity"], "{:.4f}"),
            cell(row["goodput"], "{:.2%}"), Cell(sent(row["sent"], row["lost_to_fault"])), _pair(row, "latency_ms"), _pair(row, "ttft_ms"),
        ]
        for row in map(_plain, parts.to_dict("records"))
    ]  # fmt: skip
    rates, latency = metric("Continuity, goodput"), metric("Latency")
    return Table(
        f"What users got before, during, between and after faults (lane load, through the gateway). {_COUNTED}",
        [
            Column("part", metric("Parts of a run"), number=False), *_outcomes(), Column("continuity", rates),
            Column("goodput", rates), Column("sent", latency), Column("latency p50 / p99", latency),
            Column("TTFT p50 / p99", metric("Tokens")),
        ],
        rows,
    )  # fmt: skip


def _phases(phases: pd.DataFrame) -> Table:
    out = []
    for row in map(_plain, phases.to_dict("records")):
        out.append(
            [
                Cell(f"{row['step']} #{row['trial']}" if row["step"] else "before any fault"), Cell(row["phase"]),
                cell(row["start_s"], "+{:.1f} s"), cell(row["length_s"], "{:.1f} s"), *_outcome_cells(row),
                cell(row["goodput"], "{:.2%}"), Cell(sent(row["sent"], row["lost_to_fault"])), _pair(row, "latency_ms"),
                _pair(row, "latency_from_schedule_ms"), _pair(row, "ttft_ms"), cell(row["touched"]),
            ]
        )  # fmt: skip
    about, latency = metric("Phases"), metric("Latency")
    return Table(
        "The same in each phase of each trial. Where faults overlap, a request counts in the one that began first.",
        [
            Column("trial", number=False), Column("phase", about, number=False), Column("from", about), Column("length", about),
            *_outcomes(), Column("goodput", metric("Continuity, goodput")), Column("sent", latency),
            Column("latency p50 / p99", latency), Column("from scheduled p50 / p99", latency),
            Column("TTFT p50 / p99", metric("Tokens")), Column("touched by overload", metric("An overloaded client")),
        ],
        out,
        folded=True,
    )  # fmt: skip


def _pair(row: Row, name: str) -> Cell:
    low, high = row[f"p50_{name}"], row[f"p99_{name}"]
    return Cell(UNKNOWN if low is None else f"{ms(low)} / {ms(high)}")


def _after(value: float | None, evidence: str | None, otherwise: str) -> Cell:
    if value is None:
        return Cell(otherwise)
    return Cell(f"{value:.2f} s", more=[evidence] if evidence else [])


def _doubted(value: float | None, doubt: str | None, otherwise: str) -> Cell:
    if doubt is not None:
        return Cell("unknown", more=[doubt])
    return Cell(f"{value:.2f} s") if value is not None else Cell(otherwise or UNKNOWN)


def _detection(row: Row) -> Cell:
    if row["detection_s"] is None:
        return cell(None)
    ledger = row["detection_ledger_s"]
    return Cell(f"{row['detection_s']:.2f} s" + (f" ({ledger:.2f} s)" if ledger is not None else ""))


def _gap(row: Row, word: str) -> Cell:
    low, high = row[f"gap_{word}_lower_s"], row[f"gap_{word}_upper_s"]
    if low is None:
        return cell(None)
    return Cell(
        f"at least {low:.2f} s, "
        + ("its end was not seen" if high is None else f"in [{low:.2f}, {high:.2f}] s")
    )


def _brown(row: Row) -> Cell:
    if row["brown_s"] is None:
        return cell(None)
    return Cell(f"{row['brown_s']:.2f} s, {row['brown_answers']:.0f} answers")


def _recovery(row: Row) -> Cell:
    if row["recovery_doubt"]:
        return Cell("unknown", more=[row["recovery_doubt"]])
    if row["recovery_s"] is None:
        return cell(None)
    return Cell(f"{'> ' if row['recovery_censored'] else ''}{row['recovery_s']:.2f} s")

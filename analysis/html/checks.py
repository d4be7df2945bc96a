"""The part of the page that says how far the rest can be trusted: load, the client's health, other counts, clocks, files."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.evidence import Evidence
from analysis.html.anchors import expectation, metric
from analysis.html.table import Cell, Column, Table, cell
from analysis.judging import reconciliation
from analysis.reporting.formatting import maybe, ms
from contract.records import OVERLOADED_CPU_PERCENT, OVERLOADED_LAG_MS, Outcome

PARTS = 600  # of a run's length in the picture of the client's health; of each the worst second is shown


def tables(run: Evidence) -> list[Table]:
    found = [_load(run), _reconciliation(run)]
    if run.frames.manifest.get("workers"):
        found.append(_workers(run))
    return found


def sentences(run: Evidence) -> list[str]:
    """Clocks, files, workers, what the probe did not see; each said whether it is well or not."""
    frames = run.frames
    uncertain = frames.clock_uncertainty_s
    if uncertain is None:
        clocks = "Clocks: a worker's clock was not measured, so that its instants are its own."
    elif uncertain:
        clocks = f"Clocks: instants of different machines agree to within {uncertain * 1000:.1f} ms."
    else:
        clocks = "Clocks: one machine's clock told all instants."
    told = [
        clocks,
        f"Files: torn tails were skipped in {', '.join(frames.torn)}."
        if frames.torn
        else "Files: none has a torn tail.",
        *(f"Missing: {words}." for words in frames.missing),
        f"Probe: silent for {run.unprobed.s:.1f} s of the {frames.ended_at - frames.started_at:.0f} s of the run.",
    ]
    if not frames.missing:
        told.append("Records: none that was counted is missing.")
    abandoned = int((frames.requests["outcome"] == Outcome.ABANDONED).sum())
    told.append(
        f"Left out: {len(frames.warmup)} requests of the warm-up, {len(frames.covered)} slots of the probe that a waiting request covers; "
        f"{abandoned} abandoned requests (nobody waited for their end) are counted apart."
    )
    return told


def client(frames_client: pd.DataFrame, started_at: float, ended_at: float) -> dict[str, Any]:
    """The load generators' health over the run: in each part of its length the worst second of any of them.

    `at` s since start; `cpu_percent`, `hub_lag_ms`, `in_flight`, and `scheduled` and `sent` a second, of all of them together.
    """
    high = max(1.0, ended_at - started_at)
    parts = min(PARTS, max(1, int(high)))
    wide_s = high / parts
    rows = frames_client.assign(
        second=np.floor(frames_client["at"] - started_at),
        part=np.clip(((frames_client["at"] - started_at) / wide_s).astype(int), 0, parts - 1),
    )
    worst = rows.groupby("part")[["cpu_percent", "hub_lag_ms"]].max()
    together = (
        rows.groupby(["part", "second"])[["scheduled", "sent", "in_flight"]].sum().groupby(level=0).max()
    )
    found = worst.join(together)
    return {
        "at": np.round((found.index.to_numpy(float) + 0.5) * wide_s, 2).tolist(),
        "wide_s": round(wide_s, 3),
        "cpu_limit": OVERLOADED_CPU_PERCENT,
        "lag_limit": OVERLOADED_LAG_MS,
    } | {name: np.round(found[name].to_numpy(float), 2).tolist() for name in map(str, found)}


def _load(run: Evidence) -> Table:
    d = run.delivered
    sent, intended, hides = run.hidden or (None, None, False)
    about, overload, latency = (
        metric("Load scheduled and delivered"),
        metric("An overloaded client"),
        metric("Latency"),
    )
    rows = [
        (about, "requests wanted", f"{d.scheduled:,}"),
        (about, "requests sent", f"{d.sent:,}" + (f" ({d.sent / d.scheduled:.2%} of those wanted)" if d.scheduled else "")),
        (about, "arrivals that the cap refused", f"{d.dropped:,}"),
        (about, "sent later than intended, p99", "unknown" if d.late_p99_ms is None else f"{d.late_p99_ms:.1f} ms"),
        (about, "most in flight at once", f"{d.in_flight_max:,}"),
        (about, "most users at once", maybe(d.users_max, "{:,}")),
        (overload, "seconds in which the client was overloaded", f"{d.overloaded:,} of {d.seconds:,}" if d.seconds else "unknown"),
        (about, "loop", "open: requests were sent on a schedule" if run.frames.open_loop else "closed: users waited for each answer"),
        (latency, "p99 latency from sent, users' good answers", "unknown" if sent is None else ms(sent)),
        (latency, "the same from intended", "unknown" if intended is None else ms(intended) + (" (a hang hides in the first)" if hides else "")),
    ]  # fmt: skip
    return Table(
        "Load wanted and delivered, of all lanes but warm-up.",
        [Column("what", number=False), Column("measured", number=False)],
        [[Cell(name, href=f"#{of}"), Cell(value)] for of, name, value in rows],
    )


def _reconciliation(run: Evidence) -> Table:
    rows = []
    for r in reconciliation.rows(run):
        more = "" if r.at_most in (None, r.ours) else f" to {r.at_most:,}"
        rows.append(
            [
                Cell(r.tier, tier=r.tier), Cell(r.source), Cell(r.unit),
                Cell("unknown" if r.ours is None else f"{r.ours:,}{more}"), cell(r.theirs, "{:,}"),
                Cell(r.judgement, bold=r.judgement not in (reconciliation.AGREES, reconciliation.UNKNOWN)), Cell(r.why),
            ]
        )  # fmt: skip
    about = expectation(reconciliation.NAME)
    return Table(
        "Reconciliation: what others counted of the same answers. A difference is a finding; only a ledger that contradicts "
        "a record decides a verdict.",
        [
            Column("tier", number=False), Column("counted by", about, number=False), Column("unit", number=False),
            Column("ours"), Column("theirs"), Column("judgement", number=False), Column("why", number=False),
        ],
        rows,
    )  # fmt: skip


def _workers(run: Evidence) -> Table:
    rows = [
        [Cell(str(w["worker"])), Cell(str(w["host"])), Cell(str(w["end"] or "still playing")), cell(w["requests"]), cell(w["records"])]
        for w in run.frames.manifest["workers"]
    ]  # fmt: skip
    return Table(
        "Workers that made the requests: what each counted itself, and what arrived.",
        [
            Column("worker", number=False), Column("host", number=False), Column("ended", number=False), Column("requests counted"),
            Column("records here"),
        ],
        rows,
    )  # fmt: skip

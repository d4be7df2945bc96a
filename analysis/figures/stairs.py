"""Cumulative distributions as stairs, one step per value. Shared by the figures of latencies."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.columnar import thinning
from analysis.evidence import Evidence
from analysis.figures import style
from analysis.metrics import chunks, quantiles
from contract.quantile import needs
from contract.records import Lane

COLUMNS = ["tier", "measure", "mark", "ms", "share", "n"]
GRID = (700, 500)  # cells of a panel
# Minimum number of values; with fewer, the quantile is only another name for the slowest value.
NEEDS = {"p50": 1} | {name: needs(quantiles.QUANTILES[name]) for name in ("p95", "p99")}


def whose(run: Evidence, columns: list[str]) -> tuple[pd.DataFrame, str]:
    """The users' good answers through the gateway, or those of all lanes if users had none; and a description of them."""
    requests = run.frames.requests
    good = run.frames.through_gateway & requests["good"].to_numpy(bool)
    load = good & (requests["lane"] == Lane.LOAD).to_numpy(bool)
    if load.any():
        return requests[columns][load], "good answers to users"
    return requests[columns][good], "good answers, including the probe's"


def table(found: Iterable[tuple[str, str, np.ndarray | chunks.ChunkGaps]]) -> pd.DataFrame:
    """From (tier, measure, values in ms): a row for each `mark`: `step`s of the stairs, thinned, and p50, p95, p99.

    `share`: the share of the tier's `n` values that took at most `ms`. A quantile that needs more values is missing.
    """
    parts = [_one(tier, measure, values_ms) for tier, measure, values_ms in found if _n(values_ms)]
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def _n(values: np.ndarray | chunks.ChunkGaps) -> int:
    return values.n if isinstance(values, chunks.ChunkGaps) else len(values)


def _one(tier: str, measure: str, values_ms: np.ndarray | chunks.ChunkGaps) -> pd.DataFrame:
    n = _n(values_ms)
    if isinstance(values_ms, chunks.ChunkGaps):
        (ms, share), at = values_ms.steps, values_ms.ms
    else:
        ms, share, at = (
            np.sort(values_ms),
            np.arange(1, n + 1) / n,
            quantiles.quantiles(pd.Series(values_ms)),
        )
    drawn = thinning.kept(np.log10(np.maximum(ms, 0.01)), share, np.zeros(len(ms), np.int8), *GRID)
    marks = [name for name, least in NEEDS.items() if n >= least]
    rows = pd.DataFrame(
        {
            "mark": ["step"] * len(drawn) + marks,
            "ms": np.append(ms[drawn], [float(at[name] or 0.0) for name in marks]),
            "share": np.append(share[drawn], [quantiles.QUANTILES[name] for name in marks]),
        }
    )
    return rows.assign(tier=tier, measure=measure, n=n)


def quantile(rows: pd.DataFrame, tier: str, measure: str, name: str) -> float | None:
    """One quantile of one tier in such a table, for example p50; None if the table has none."""
    found = rows.loc[(rows["tier"] == tier) & (rows["measure"] == measure) & (rows["mark"] == name), "ms"]
    return float(found.iloc[0]) if len(found) else None


def panel(axes: Axes, run: Evidence, rows: pd.DataFrame, measure: str, notes: dict[str, str]) -> None:
    """The stairs of one measure, with dots at p50, p95, p99. `notes`: tier → addition to its legend."""
    rows = rows[rows["measure"] == measure]
    for tier, colour in style.tier_colours(run.frames.tiers).items():
        mine = rows[rows["tier"] == tier]
        if mine.empty:
            continue
        steps, marks = mine[mine["mark"] == "step"], mine[mine["mark"] != "step"]
        n = int(mine["n"].iloc[0])
        texts = [f"{m} {style.ms_short(ms)}" for m, ms in zip(marks["mark"], marks["ms"], strict=True)]
        if n < NEEDS["p99"]:
            texts.append(f"max {style.ms_short(steps['ms'].max())}")
        label = f"{tier}: {', '.join(texts)}, n = {n:,}{notes.get(tier, '')}"
        axes.step(steps["ms"], steps["share"], where="post", color=colour, lw=1.8, label=label)
        axes.plot(
            marks["ms"], marks["share"], ls="", marker="o", color=colour, ms=4.5, mec="white", mew=0.8,
            zorder=3,
        )  # fmt: skip
    style.log_ms(axes, "x")
    axes.set_yticks([0, 0.25, 0.5, 0.75, 0.95, 0.99], ["0", "25 %", "p50", "75 %", "p95", "p99"])
    axes.tick_params(axis="y", labelsize=7.5)
    axes.set_ylim(0, 1.02)
    if rows.empty:
        style.note(axes, "none was measured")
    else:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), handlelength=1.2)

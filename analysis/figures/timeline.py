"""Every answer of the run at its latency, in the colour of the tier that gave it; faults above, who served below."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import outages
from analysis.evidence import Evidence
from analysis.figures import shading, style
from analysis.metrics import CUTS
from contract.records import Outcome

MOST_DOTS = 40_000
COLUMNS = 240  # of the strip that says who served


def draw(run: Evidence) -> Figure:
    """What is to be seen: who answered when and how fast, what failed, and whether it fits the faults.

    Dots are good answers through the gateway (small: the probe's), × cut or stalled streams at the length they reached,
    | asks that failed. The strip below shows, second by second, which tier gave what share of the good answers.
    """
    asks = run.frames.gateway_asks
    if asks.empty:
        return style.empty(run, "timeline", "nothing was asked through the gateway")
    with rc_context(style.LOOK):
        made = style.figure(height=5.6)
        top = 0.26 * shading.rows(run)
        faults, plot, served = made.subplots(3, 1, sharex=True, height_ratios=[top, 3.4, 0.3])
        low, high = 0.0, max(1.0, run.frames.ended_at - run.frames.started_at)
        plot.set_xlim(low, high)
        shading.strips(faults, run)
        shading.shade(plot, run)
        drawn = _dots(plot, run, asks)
        _served(served, run, asks, high)
        served.set_xlabel(
            "seconds since the run's start    (strip: pale where nobody asked, white where nobody answered)"
        )
        plot.set_ylabel("latency of the answer")
    style.title(made, says(run), run, f"n = {len(asks)} asks through the gateway{drawn}")
    return made


def says(run: Evidence) -> str:
    """`ollama took over after 0.41 s; 3 streams were cut`."""
    asks = run.frames.gateway_asks
    cut = int(asks["outcome"].isin(CUTS).sum())
    failed = int((~asks["good"] & ~asks["outcome"].isin((*CUTS, Outcome.ABANDONED))).sum())
    took: dict[str, list[float]] = {}
    for t in run.trials:
        lost_at = run.lost_at(t)
        first = None if lost_at is None else outages.first_answer(run.fit(t), run.frames.covered, t, lost_at)
        if lost_at is not None and first is not None:
            who = str(first["tier"])
            did = f"nobody took over before {who} returned," if who == t.target else f"{who} took over"
            took.setdefault(did, []).append(float(first["first_at"]) - lost_at)
    parts = [
        f"{did} after {style.seconds_text(max(all_s))}"
        + (f" (max of {len(all_s)})" if len(all_s) > 1 else "")
        for did, all_s in took.items()
    ]
    if not parts:
        parts.append("no tier was seen lost" if run.trials else "no fault")
    parts.append(f"{cut} stream{'s were' if cut != 1 else ' was'} cut")
    parts.append(f"{failed} ask{'s' if failed != 1 else ''} failed")
    return "; ".join(parts)


def _dots(axes: Axes, run: Evidence, asks: pd.DataFrame) -> str:
    started_at, colours = run.frames.started_at, style.tier_colours(run.frames.tiers)
    good = asks[asks["good"]]
    note = ""
    if len(good) > MOST_DOTS:
        good = good.sample(MOST_DOTS, random_state=0)
        note = f", {MOST_DOTS} good ones drawn, every failure"
    probe = good["file"] == "probe"
    for rows, size, alpha in ((good[probe], 3.0, 0.55), (good[~probe], 9.0, 0.85)):
        paint = [colours.get(str(t), style.UNKNOWN) for t in rows["tier"]]
        axes.scatter(rows["sent_at"] - started_at, rows["latency_ms"], s=size, c=paint, alpha=alpha, lw=0,
                     rasterized=True)  # fmt: skip
    cut = asks[asks["outcome"].isin(CUTS)]
    failed = asks[~asks["good"] & ~asks["outcome"].isin((*CUTS, Outcome.ABANDONED))]
    style.log_ms(axes, "y")
    floor = max(0.5, float(good["latency_ms"].min()) / 3) if len(good) else 1.0
    axes.scatter(
        cut["sent_at"] - started_at, cut["latency_ms"], s=34, c=style.CUT, marker="x", lw=1.5, zorder=4
    )
    axes.scatter(failed["sent_at"] - started_at, failed["latency_ms"].fillna(floor).clip(lower=floor), s=26,
                 c=style.FAILED, marker="|", lw=0.9, zorder=3)  # fmt: skip
    marks = style.dots({t: c for t, c in colours.items() if (good["tier"] == t).any()})
    marks.append(_mark("o", style.UNKNOWN, "small: probe", 2.2))
    if len(cut):
        marks.append(_mark("x", style.CUT, f"cut or stalled ({len(cut)})", 6))
    if len(failed):
        marks.append(_mark("|", style.FAILED, f"failed ({len(failed)})", 7))
    axes.legend(handles=marks, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(marks), handletextpad=0.2,
                columnspacing=1.4)  # fmt: skip
    return note


def _mark(marker: str, colour: str, label: str, size: float) -> Line2D:
    return Line2D([], [], marker=marker, linestyle="", color=colour, label=label, markersize=size, mew=1.4)


def _served(axes: Axes, run: Evidence, asks: pd.DataFrame, high: float) -> None:
    """The share of each tier in the good answers, column by column.

    Pale: nobody asked, the tier that served last. White: asks were sent, and none of them was answered well.
    """
    edges = np.linspace(0, high, min(COLUMNS, max(10, int(high))) + 1)
    good = asks[asks["good"]]
    counts = {
        tier: np.histogram(good.loc[good["tier"] == tier, "sent_at"] - run.frames.started_at, edges)[0]
        for tier in run.frames.tiers
    }
    asked = np.histogram(asks["sent_at"] - run.frames.started_at, edges)[0]
    _carry(axes, run, counts, asked, edges)
    total = np.maximum(1, sum(counts.values()))
    bottom = np.zeros(len(edges) - 1)
    for tier, colour in style.tier_colours(run.frames.tiers).items():
        share = counts[tier] / total
        axes.bar(edges[:-1], share, np.diff(edges), bottom, align="edge", color=colour, lw=0)
        bottom = bottom + share
    axes.set_ylim(0, 1)
    axes.set_yticks([0.5], ["who served"])
    axes.tick_params(axis="y", length=0)
    axes.grid(False)


def _carry(
    axes: Axes, run: Evidence, counts: dict[str, np.ndarray], asked: np.ndarray, edges: np.ndarray
) -> None:
    last, colours = None, style.tier_colours(run.frames.tiers)
    for i in range(len(asked)):
        here = [tier for tier, count in counts.items() if count[i]]
        if not asked[i] and last is not None:
            axes.bar(edges[i], 1, edges[i + 1] - edges[i], align="edge", color=colours[last], alpha=0.3, lw=0)
        last = here[-1] if here else last

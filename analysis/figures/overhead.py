"""What the gateway adds: one dot per pair of requests, the two orders apart, the median with its interval."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.checkers.overhead import MIN_PAIRS
from analysis.columnar import thinning
from analysis.evidence import Evidence
from analysis.figures import style
from analysis.figures.once import once
from analysis.metrics import overhead

_MEASURES = {"ttft_ms": "TTFT", "latency_ms": "whole answer"}
_ORDERS = {"gateway first": True, "tier first": False}
_DOTS, _HEADER = "#56728A", "#777777"
GRID = (600, 60)
_FAR = 8  # a limit further away than so many times the furthest dot would squeeze the dots
_COLUMNS = ["measure", "mark", "order", "pair", "ms", "lower_ms", "upper_ms"]


@once
def data(run: Evidence) -> pd.DataFrame:
    """For each `measure` (ttft_ms, latency_ms) a row for each `pair`: `order`, and by how many `ms` the gateway took longer.

    Also the `median` of both orders (as in `overhead.overhead`) with its interval from six pairs on, `gateway header` (the
    median of the gateway's own header, about half of what is measured), and the `limit`. Pairs are thinned as drawn.
    """
    rows: list[pd.DataFrame] = []
    for measure in _MEASURES:
        known = run.pairs[run.pairs[measure].notna()].reset_index(drop=True)
        first = known["gateway_first"].eq(True).to_numpy(bool)
        drawn = thinning.kept(known[measure].to_numpy(float), np.arange(len(known)), first.astype(int), *GRID)
        rows.append(pd.DataFrame({
            "measure": measure, "mark": "pair", "pair": known["pair"].iloc[drawn],
            "order": np.where(first[drawn], "gateway first", "tier first"), "ms": known[measure].iloc[drawn],
        }))  # fmt: skip
        found = overhead.overhead(run.pairs, measure)
        if found is None:
            continue
        low, high = found.interval_ms if found.pairs >= MIN_PAIRS else (None, None)
        rows.append(_row(measure=measure, mark="median", ms=found.ms, lower_ms=low, upper_ms=high))
    if run.pairs.empty:
        return pd.DataFrame(columns=_COLUMNS)
    header_ms = overhead.header_ms(run.frames.requests, run.pairs)
    if header_ms is not None:
        rows.append(_row(mark="gateway header", ms=header_ms))
    expected = run.frames.timeline.expect.get("overhead") if run.frames.timeline else None
    if expected:
        rows.append(_row(mark="limit", ms=float(expected["max_ms"])))
    whole = pd.concat([r.dropna(axis=1, how="all") for r in rows], ignore_index=True)
    return whole.reindex(columns=_COLUMNS)


def _row(**cells: Any) -> pd.DataFrame:
    return pd.DataFrame([cells])


def _nothing(run: Evidence) -> str:
    requests = run.frames.requests
    made = requests.loc[requests["lane"] == "overhead", "pair"].nunique()
    return f"none of {made:,} pairs counts" if made else "no pair of requests (gateway, direct) was sent"


def _one(rows: pd.DataFrame, measure: str) -> Any | None:
    found = rows[(rows["mark"] == "median") & (rows["measure"] == measure)].to_dict("records")
    return found[0] if found else None


def title(run: Evidence) -> str:
    """`The gateway adds 24.8 ms to the first token [21.7, 26.6], 25.0 ms to the whole answer [22.0, 27.1]`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {_nothing(run)}"
    parts = []
    for measure, words in (("ttft_ms", "the first token"), ("latency_ms", "the whole answer")):
        found = _one(rows, measure)
        if found is not None:
            known = pd.notna(found["lower_ms"])
            interval = f" [{found['lower_ms']:.1f}, {found['upper_ms']:.1f}]" if known else ""
            parts.append(f"{found['ms']:.1f} ms to {words}{interval}")
    few = (
        ""
        if len(run.pairs) >= MIN_PAIRS
        else f" (only {len(run.pairs)} pair{'s' if len(run.pairs) != 1 else ''}: no interval)"
    )
    return f"The gateway adds {', '.join(parts)}{few}"


def draw(run: Evidence) -> Figure:
    """How to read it: how much longer a pair's request through the gateway took than its request direct to the tier.

    A dot is a pair, in the order in which the pairs were sent, the first at the top. Pairs that began with the gateway and pairs
    that began with the tier are apart, because an effect on the first request moves them in opposite directions. The diamond is
    the median over both orders, its bar the 95 % interval. The overhead that the gateway reports in its header is about half of
    that and is not judged.
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "gateway overhead", _nothing(run))
    with rc_context(style.LOOK):
        made = style.figure(height=4.6)
        both = made.subplots(2, 1, sharex=True)
        for axes, measure in zip(both, _MEASURES, strict=True):
            _panel(axes, run, rows, measure)
        _limit(both, rows)
        both[-1].set_xlabel("milliseconds that the gateway took longer")
        marks: list[Any] = [
            Line2D([], [], marker="o", ls="", color=_DOTS, ms=4, alpha=0.7, label="a pair"),
            Line2D(
                [],
                [],
                marker="D",
                color=style.INK,
                ms=6,
                lw=2.5,
                label="median of both orders, 95 % interval",
            ),
        ]
        if (rows["mark"] == "gateway header").any():
            marks.append(
                Line2D([], [], color=_HEADER, lw=1.4, ls=":", label="reported by the gateway (its header)")
            )
        if (rows["mark"] == "limit").any():
            marks.append(Line2D([], [], color=style.LIMIT, lw=2, label=f"limit {_limit_ms(rows):g} ms"))
        style.legend(both[0], marks)
    n = len(run.pairs)
    style.title(made, title(run), run, f"n = {n:,} pair{'s that count' if n != 1 else ' that counts'}")
    return made


def _limit_ms(rows: pd.DataFrame) -> float:
    return float(rows.loc[rows["mark"] == "limit", "ms"].iloc[0])


def _panel(axes: Axes, run: Evidence, rows: pd.DataFrame, measure: str) -> None:
    place = {pair: i for i, pair in enumerate(run.pairs["pair"])}
    mine = rows[(rows["measure"] == measure) & (rows["mark"] == "pair")]
    for at, order in enumerate(_ORDERS):
        dots = mine[mine["order"] == order]
        y = at - 0.3 + 0.6 * (dots["pair"].map(place).to_numpy(float) + 0.5) / max(1, len(place))
        axes.scatter(dots["ms"], y, s=14, c=_DOTS, alpha=0.65, lw=0, zorder=2)
        if len(dots):
            middle = float(dots["ms"].median()) if len(dots) < 1000 else None
            if middle is not None:
                axes.plot([middle, middle], [at - 0.34, at + 0.34], color=_DOTS, lw=1.5, zorder=3)
    found = _one(rows, measure)
    if found is not None:
        if pd.notna(found["lower_ms"]):
            axes.plot([found["lower_ms"], found["upper_ms"]], [0.5, 0.5], color=style.INK, lw=3, zorder=4)
        axes.plot(found["ms"], 0.5, marker="D", color=style.INK, ms=6, mec="white", mew=0.8, zorder=5)
    for ms in rows.loc[rows["mark"] == "gateway header", "ms"]:
        axes.axvline(ms, color=_HEADER, lw=1.4, ls=":", zorder=1)
    axes.axvline(0, color="#AAAAAA", lw=0.8, zorder=0)
    axes.set_ylim(1.5, -0.5)
    axes.set_yticks(range(len(_ORDERS)), list(_ORDERS))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_ylabel(_MEASURES[measure])


def _limit(both: Any, rows: pd.DataFrame) -> None:
    """The limit as a line; as an arrow at the edge if the line would squeeze the dots."""
    if not (rows["mark"] == "limit").any():
        return
    limit_ms = _limit_ms(rows)
    furthest = float(rows.loc[rows["mark"] == "pair", "ms"].abs().max())
    for axes in both:
        if limit_ms <= _FAR * furthest:
            axes.axvline(limit_ms, color=style.LIMIT, lw=2, zorder=2)
        else:
            axes.annotate(f"limit {limit_ms:g} ms →", (0.995, 0.5), xycoords="axes fraction", ha="right", va="center",
                          color=style.LIMIT, fontsize=8.5)  # fmt: skip

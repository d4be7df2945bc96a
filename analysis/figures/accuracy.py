"""The accuracy of each tier on documents, and whether the fallback is as accurate as the tier that was taken away."""

from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.checkers import degraded as judged
from analysis.evidence import Evidence
from analysis.figures import style
from analysis.figures.once import once

NOTHING = "no document was classified through the gateway"
_COLUMNS = ["mark", "tier", "percent", "lower_percent", "upper_percent", "documents"]
_FLOOR = "#F6DADD"  # where a fallback is too much worse


@once
def data(run: Evidence) -> pd.DataFrame:
    """For each `tier` the share of `documents` with a right answer (`accuracy`, with its 95 % interval) or usable JSON (`valid`).

    For the expectation `degraded`: the `difference` of the fallback, in points, with its 95 % interval, and the `limit`. A tier's
    first answer for a document counts.
    """
    rows: list[dict[str, Any]] = []
    for of in run.documents:
        if of.interval is not None:
            low, high = of.interval
            rows.append(_row("accuracy", of.tier, of.right / of.answered, low, high, of.answered))
            rows.append(_row("valid", of.tier, of.valid / of.answered, None, None, of.answered))
    expected = run.frames.timeline.expect.get("degraded") if run.frames.timeline else None
    found = judged.compared(run, expected["step"], expected["to"]) if rows and expected else None
    if expected and found is not None and found.pairs is not None:
        low, high = found.pairs.interval
        rows.append(_row("difference", expected["to"], found.pairs.difference, low, high, found.pairs.n))
        rows.append(_row("limit", expected["to"], -float(expected["max_drop"]), None, None, None))
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"documents": "Int64"})


def _row(
    mark: str, tier: str, share: float, low: float | None, high: float | None, n: int | None
) -> dict[str, Any]:
    ends = [None if end is None else 100 * end for end in (low, high)]
    return dict(zip(_COLUMNS, (mark, tier, 100 * share, *ends, n), strict=True))


def title(run: Evidence) -> str:
    """`Documents right: vllm 94 % of 72, ollama 93 % of 72; ollama −1.4 points against vllm`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {NOTHING}"
    shares = [
        f"{r['tier']} {r['percent']:.0f} % of {r['documents']}"
        for r in rows[rows["mark"] == "accuracy"].to_dict("records")
    ]
    difference = rows[rows["mark"] == "difference"]
    parts = [f"Documents right: {', '.join(shares)}"]
    for r in difference.to_dict("records"):
        parts.append(f"{r['tier']} {judged.signed(r['percent'] / 100)} points against {_target(run)}")
    return "; ".join(parts)


def draw(run: Evidence) -> Figure:
    """How to read it: the share of the documents that a tier has right, and how much worse the fallback may be.

    Left: a dot is a tier, the share of documents with the right correspondent, document type, date and language, by its first
    answer for each. The bar is the 95 % interval, the hollow mark the share answered with JSON that a client can use. Right: the
    diamond is the fallback's share minus that of the tier that was taken away, over the documents that both answered. The whole
    bar must be to the right of the red line.
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "accuracy", NOTHING)
    paired = (rows["mark"] == "difference").any()
    tiers = rows.loc[rows["mark"] == "accuracy", "tier"].tolist()
    with rc_context(style.LOOK):
        made = style.figure(height=1.9 + 0.45 * max(2, len(tiers)))
        left, *right = made.subplots(
            1, 2 if paired else 1, width_ratios=(3, 2) if paired else (1,), squeeze=False
        )[0]
        _shares(left, run, rows, tiers)
        if paired:
            _difference(right[0], run, rows)
    n = int(rows.loc[rows["mark"] == "accuracy", "documents"].max())
    style.title(made, title(run), run, f"n = {n:,} document{'s' if n != 1 else ''}")
    return made


def _target(run: Evidence) -> str:
    assert run.frames.timeline is not None
    step = run.frames.timeline.expect["degraded"]["step"]
    return run.trials_of(step)[0].target


def _shares(axes: Axes, run: Evidence, rows: pd.DataFrame, tiers: list[str]) -> None:
    colours = style.tier_colours(run.frames.tiers)
    for y, tier in enumerate(tiers):
        mine = rows[rows["tier"] == tier].set_index("mark")
        right, valid = mine.loc["accuracy"], mine.loc["valid"]
        axes.plot(
            [right["lower_percent"], right["upper_percent"]], [y, y], color=colours[tier], lw=3, zorder=2
        )
        axes.plot(
            right["percent"],
            y,
            marker="o",
            color=colours[tier],
            ms=8,
            mec="white",
            mew=0.8,
            zorder=4,
            clip_on=False,
        )
        axes.plot(valid["percent"], y, marker="s", mfc="none", mec=style.INK, ms=11, zorder=3, clip_on=False)
    axes.set_yticks(range(len(tiers)), [f"{t} (n = {_n(rows, t)})" for t in tiers])
    axes.set_ylim(len(tiers) - 0.5, -0.5)
    axes.set_xlim(right=100)
    axes.margins(x=0.08)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("% of the documents")
    style.legend(axes, [
        Line2D([], [], marker="o", color=style.INK, lw=2.5, ms=6, label="all right, 95 % interval"),
        Line2D([], [], marker="s", ls="", mfc="none", mec=style.INK, ms=8, label="usable JSON"),
    ])  # fmt: skip


def _n(rows: pd.DataFrame, tier: str) -> int:
    return int(rows.loc[(rows["mark"] == "accuracy") & (rows["tier"] == tier), "documents"].iloc[0])


def _difference(axes: Axes, run: Evidence, rows: pd.DataFrame) -> None:
    found = rows[rows["mark"] == "difference"].iloc[0]
    limit = float(rows.loc[rows["mark"] == "limit", "percent"].iloc[0])
    reach = 1.15 * max(abs(limit), abs(found["lower_percent"]), abs(found["upper_percent"]))
    axes.axvspan(-reach, limit, color=_FLOOR, lw=0, zorder=0)
    axes.axvline(limit, color=style.LIMIT, lw=2, zorder=1)
    axes.axvline(0, color="#AAAAAA", lw=0.8, zorder=1)
    axes.plot([found["lower_percent"], found["upper_percent"]], [0, 0], color=style.INK, lw=3, zorder=2)
    axes.plot(found["percent"], 0, marker="D", color=style.INK, ms=7, mec="white", mew=0.8, zorder=3)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(1, -1)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"points: {found['tier']} less {_target(run)}, over {found['documents']} documents")
    style.legend(axes, [
        Line2D([], [], marker="D", color=style.INK, lw=2.5, ms=6, label="difference, 95 % interval"),
        Line2D([], [], color=style.LIMIT, lw=2, label=f"limit −{-limit:g}"),
    ])  # fmt: skip

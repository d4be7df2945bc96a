"""Each tier's share of the answers over time, and why a lower tier answered: needed, sticky, spurious, unknown."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.evidence import Evidence
from analysis.figures import shading, style
from analysis.figures.once import once
from analysis.metrics.attribution import SHOWN

NOTHING = "no answer came through the gateway whose tier is known"
COLUMNS = 300
LEAST_S = 1.0
_TOP = "first tier"
# None of them a tier's colour.
_WHY = {"needed": "#BDBDBD", "sticky": "#7B5EA7", "spurious": style.CUT, "unknown": "#FFFFFF"}
_COLUMNS = ["at_s", "tier", "why", "answers", "share"]


def _wide_s(run: Evidence) -> float:
    return max(LEAST_S, style.length_s(run) / COLUMNS)


@once
def data(run: Evidence) -> pd.DataFrame:
    """A row for each time column, `tier` and `why` with any answers: `at_s` (its begin), `answers`, their `share` of all in it.

    Answers through the gateway, including cut ones, in the column in which they were sent. `why` is that of
    `attribution.why_lower`; `first tier` for the first tier.
    """
    f = run.frames
    requests = f.gateway(["sent_at", "tier"])
    place = style.places(requests["tier"], f.tiers)
    top = (place >= 0) & (place < len(f.ranks[0]))
    lower = run.lower[["sent_at", "tier", "why"]]
    at = np.concatenate([requests["sent_at"].to_numpy(float)[top], lower["sent_at"].to_numpy(float)])
    if not len(at):
        return pd.DataFrame(columns=_COLUMNS)
    tier = np.concatenate([place[top], style.places(lower["tier"], f.tiers)])
    why = np.concatenate([np.zeros(int(top.sum()), int), 1 + style.places(lower["why"], SHOWN)])
    wide_s = _wide_s(run)
    column = np.maximum(0, ((at - f.started_at) / wide_s).astype(int))
    whys = (_TOP, *SHOWN)
    shape = (int(column.max()) + 1, len(f.tiers), len(whys))
    count = np.bincount(
        np.ravel_multi_index((column, tier, why), shape), minlength=int(np.prod(shape))
    ).reshape(shape)
    i, j, k = np.nonzero(count)
    return pd.DataFrame({
        "at_s": i * wide_s, "tier": np.array(f.tiers, dtype=object)[j], "why": np.array(whys, dtype=object)[k],
        "answers": count[i, j, k], "share": count[i, j, k] / count.sum(axis=(1, 2))[i],
    })  # fmt: skip


def title(run: Evidence) -> str:
    """`vllm gave 66 % of 1,803 answers, ollama 28 %, openai 6 %; of the 612 by lower tiers 610 were needed, 2 sticky, 0 spurious`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {NOTHING}"
    n = int(rows["answers"].sum())
    of_tier = rows.groupby("tier")["answers"].sum()
    shares = [f"{t} {style.percent(of_tier[t], n)}" for t in run.frames.tiers if t in of_tier.index]
    head = f"Of {n:,} answers: {', '.join(shares)}"
    lower = rows[rows["why"] != _TOP]
    if lower.empty:
        return f"{head}; no lower tier answered"
    of_why = lower.groupby("why")["answers"].sum()
    counts = [f"{int(of_why.get(w, 0)):,} {w}" for w in SHOWN if w in of_why.index or w == "spurious"]
    return f"{head}; why a lower tier: {', '.join(counts)}"


def draw(run: Evidence) -> Figure:
    """How to read it: above, each tier's share of the answers; below, the share of lower tiers in the same answers, by reason.

    needed: no higher tier was serving. sticky: one had returned, within the gateway's cooldown. spurious: one was verified to
    serve the whole time. unknown: at the edges. White above: no answer.
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "served by", NOTHING)
    high = style.length_s(run)
    strip = 0.26 * shading.rows(run)
    with rc_context(style.LOOK):
        made = style.figure(height=4.2 + strip)
        faults, tiers, whys = made.subplots(3, 1, sharex=True, height_ratios=[strip, 1.6, 1.4])
        tiers.set_xlim(0, high)
        shading.strips(faults, run)
        colours = style.tier_colours(run.frames.tiers)
        _areas(tiers, run, rows, "tier", colours)
        _areas(whys, run, rows, "why", _WHY)
        tiers.set_ylabel("share, by tier")
        whys.set_ylabel("share, by why")
        seen, because = set(rows["tier"]), set(rows["why"])
        style.legend(tiers, [Patch(color=c, label=t) for t, c in colours.items() if t in seen])
        style.legend(whys, [Patch(facecolor=c, edgecolor=style.INK, lw=0.6, hatch=_hatch(w), label=w)
                            for w, c in _WHY.items() if w in because])  # fmt: skip
        if not because - {_TOP}:
            style.note(whys, "no lower tier answered")
        style.time_axis(whys, high)
    style.title(
        made,
        title(run),
        run,
        f"n = {int(rows['answers'].sum()):,} answers, in columns of {_wide_s(run):.3g} s",
    )
    return made


def _hatch(why: str) -> str | None:
    return "////" if why == "unknown" else None


def _areas(axes: Axes, run: Evidence, rows: pd.DataFrame, by: str, colours: dict[str, str]) -> None:
    wide_s = _wide_s(run)
    edges = np.arange(int(np.ceil(style.length_s(run) / wide_s)) + 2) * wide_s
    column = np.rint(rows["at_s"].to_numpy(float) / wide_s).astype(int)
    bottom = np.zeros(len(edges))
    for name, colour in colours.items():
        mine = (rows[by] == name).to_numpy(bool)
        top = bottom.copy()
        np.add.at(top, column[mine], rows["share"].to_numpy(float)[mine])
        axes.fill_between(edges, bottom, top, step="post", facecolor=colour, hatch=_hatch(name), lw=0,
                          edgecolor=style.INK if _hatch(name) else "none")  # fmt: skip
        bottom = top
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])

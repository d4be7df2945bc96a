"""The distribution of each tier's latency and TTFT: A dashed, B solid."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.compare import comparison
from analysis.compare.comparison import Comparison
from analysis.compare.estimate import Curve, Side
from analysis.compare.judged import Judged, value_of
from analysis.figures import style
from contract.records import GATEWAY

_WORDS = {"latency": "latency: sent → end", "ttft": "TTFT of streamed answers: sent → first token"}
LEAST_N = 5  # with fewer answers a curve is not useful


def title(c: Comparison) -> str:
    """`TTFT p50: vllm 152 ms → 204 ms (worse)`, of the first three tiers."""
    rows = [
        r
        for r in c.rows
        if r.metric == "ttft" and r.statistic == "p50" and r.of in c.a.tiers and r.via == GATEWAY
    ]
    parts = [
        f"{r.of} {comparison.value(value_of(r.a), r.unit)} → {comparison.value(value_of(r.b), r.unit)} ({r.judged})"
        for r in rows
        if r.a is not None and r.b is not None and (r.judged is not Judged.CANNOT_TELL or len(rows) < 3)
    ]
    return f"TTFT p50: {', '.join(parts)}" if parts else "No tier's TTFT could be compared"


def draw(c: Comparison) -> Figure | None:
    """Shows whether B's curve is right of A's (slower), over all answers or only in the tail."""
    if not _curves(c.a, "latency") and not _curves(c.b, "latency"):
        return None
    made = style.figure(height=4.4)
    left, right = made.subplots(1, 2, sharey=True)
    for axes, metric in ((left, "latency"), (right, "ttft")):
        _draw(axes, c, metric)
    left.set_ylabel("share of answers within this time")
    return made


def _curves(side: Side, metric: str) -> dict[str, Curve]:
    """Tier → its curve, through the gateway."""
    return {
        c.of: c for c in side.curves
        if c.metric == metric and c.via == GATEWAY and c.of in side.tiers and c.n >= LEAST_N
    }  # fmt: skip


def _draw(axes: Axes, c: Comparison, metric: str) -> None:
    tiers = dict.fromkeys([*c.a.tiers, *c.b.tiers])
    marks = []
    sides = [_curves(s, metric) for s in (c.a, c.b)]
    for tier, colour in style.tier_colours(tiers).items():
        of = [s.get(tier) for s in sides]
        if not any(of):
            continue
        for curve, dash in zip(of, ((0, (3, 1.5)), "-"), strict=True):
            if curve is not None:
                share = np.linspace(0, 1, len(curve.values))
                axes.plot(curve.values, share, color=colour, lw=1.8, ls=dash)
        n = " / ".join(str(x.n if x else 0) for x in of)
        marks.append(Line2D([], [], color=colour, lw=1.8, label=f"{tier}, n = {n}"))
    style.log_ms(axes, "x")
    axes.tick_params(axis="x", labelsize=7.5, labelrotation=30)  # a narrow range has many tick labels
    axes.set_yticks([0, 0.25, 0.5, 0.75, 0.95], ["0", "25 %", "p50", "75 %", "p95"])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(_WORDS[metric])
    marks += [
        Line2D([], [], color=style.INK, lw=1.4, ls=d, label=x) for x, d in (("A", (0, (3, 1.5))), ("B", "-"))
    ]
    axes.legend(
        handles=marks, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handlelength=1.8, fontsize=8
    )

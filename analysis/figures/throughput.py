"""Tokens a second over the run, one area per tier on top of the other, the faults shaded."""

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis import metrics
from analysis.evidence import Evidence
from analysis.figures import shading, style

COLUMNS = 300
LEAST_S = 2.0  # narrower columns show single answers


def draw(run: Evidence) -> Figure:
    """What is to be seen: how many tokens a second users got through the gateway, from whom, and how deep it fell."""
    asks = run.frames.gateway_asks
    told = asks[asks["output_tokens"].notna() & asks["tier"].notna()]
    if told.empty:
        return style.empty(run, "throughput", "no answer through the gateway told its usage")
    high = max(1.0, run.frames.ended_at - run.frames.started_at)
    wide_s = max(LEAST_S, high / COLUMNS)
    edges = np.arange(0, high + wide_s, wide_s)
    table = metrics.tokens_over_time(told, run.frames.tiers, edges + run.frames.started_at)
    with rc_context(style.LOOK):
        made = style.figure(height=3.9)
        faults, plot = made.subplots(2, 1, sharex=True, height_ratios=[0.26 * shading.rows(run), 2.6])
        plot.set_xlim(0, high)
        shading.strips(faults, run)
        shading.shade(plot, run)
        bottom = np.zeros(len(table))
        for tier, colour in style.tier_colours(run.frames.tiers).items():
            top = bottom + table[tier].to_numpy()
            plot.fill_between(edges[:-1], bottom, top, step="post", color=colour, alpha=0.9, lw=0)
            bottom = top
        plot.set_ylim(0, max(1.0, float(bottom.max()) * 1.05))
        plot.set_ylabel("output tokens a second")
        plot.set_xlabel("seconds since the run's start")
        marks = [
            Patch(color=c, label=t) for t, c in style.tier_colours(run.frames.tiers).items() if table[t].any()
        ]
        plot.legend(handles=marks, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(marks) or 1)
    style.title(made, _says(run), run, f"n = {len(told)} answers with usage, in columns of {wide_s:.3g} s")
    return made


def _says(run: Evidence) -> str:
    """Tokens a second while a tier had something to do."""
    asks = run.frames.gateway_asks
    parts = []
    for tier in run.frames.tiers:
        rate = metrics.tokens_per_s(asks[asks["tier"] == tier])
        if rate is not None:
            parts.append(f"{tier} {rate:.0f}")
    return f"Tokens a second while answering: {', '.join(parts)}"

"""How long each tier's answers took: the whole distribution, with p50, p95 (from 20 answers on) and p99 (from 100 on) marked."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import metrics
from analysis.evidence import Evidence
from analysis.figures import style
from contract.records import Lane

_WORDS = {"latency_ms": "latency: sent → end", "ttft_ms": "TTFT of streamed answers: sent → first token"}


def draw(run: Evidence) -> Figure:
    """What is to be seen: what share of a tier's good answers came within how long; right, to their first token.

    Users' answers (lane load) through the gateway; where users asked nothing, all lanes. Stairs: one step an answer.
    """
    asks = run.frames.gateway_asks
    load = asks[asks["lane"] == Lane.LOAD]
    asks, whose = (
        (load, "users' answers") if load["good"].any() else (asks, "answers, the probe's among them")
    )
    good = asks[asks["good"] & asks["tier"].notna()]
    if good.empty:
        return style.empty(run, "latency by tier", "no good answer came through the gateway")
    with rc_context(style.LOOK):
        made = style.figure(height=4.4)
        left, right = made.subplots(1, 2, sharey=True)
        for axes, column in ((left, "latency_ms"), (right, "ttft_ms")):
            _stairs(axes, run, good, column)
        left.set_ylabel("share of the answers that took at most so long")
    style.title(made, _says(run, good), run, f"n = {len(good)} good {whose} through the gateway")
    return made


# So many answers before a quantile is more than the slowest of them under another name.
_NEEDS = {"p50": 1, "p95": 20, "p99": 100}


def _stairs(axes: Axes, run: Evidence, good: pd.DataFrame, column: str) -> None:
    for tier, colour in style.tier_colours(run.frames.tiers).items():
        rows = good[good["tier"] == tier]
        known = (metrics.ttft_ms(rows) if column == "ttft_ms" else metrics.latency_ms(rows)).dropna()
        if known.empty:
            continue
        values = np.sort(known.to_numpy(float))
        share = np.arange(1, len(values) + 1) / len(values)
        at = {name: ms for name, ms in metrics.quantiles(known).items() if ms is not None}
        p50, slow = style.ms_short(at["p50"]), style.ms_short(at["p99"])
        label = f"{tier}: p50 {p50}, " + (
            f"p99 {slow}, n = {len(values)}"
            if len(values) >= _NEEDS["p99"]
            else f"max of {len(values)}: {style.ms_short(at['max'])}"
        )
        axes.step(values, share, where="post", color=colour, lw=1.8, label=label)
        for name, q in metrics.QUANTILES.items():
            if len(values) >= _NEEDS[name]:
                axes.plot([at[name]], [q], marker="o", color=colour, ms=4.5, mec="white", mew=0.8, zorder=3)
    style.log_ms(axes, "x")
    axes.set_yticks([0, 0.25, 0.5, 0.75, 0.95, 0.99], ["0", "25 %", "p50", "75 %", "p95", "p99"])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(_WORDS[column])
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), handlelength=1.2)


def _says(run: Evidence, good: pd.DataFrame) -> str:
    """`Half of the answers ended within: vllm 268 ms, ollama 813 ms`."""
    parts = []
    for tier in run.frames.tiers:
        p50 = metrics.quantiles(metrics.latency_ms(good[good["tier"] == tier]))["p50"]
        if p50 is not None:
            parts.append(f"{tier} {style.ms_short(p50)}")
    return f"Half of the answers ended within: {', '.join(parts)}"

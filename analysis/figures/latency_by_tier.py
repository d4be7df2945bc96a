"""The latency of each tier's answers: the whole distribution, with p50, p95 (from 21 answers) and p99 (from 101) marked."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis.evidence import Evidence
from analysis.figures import stairs, style
from analysis.figures.once import once
from analysis.metrics import latency

NOTHING = "no good answer came through the gateway"
_SENT, _SCHEDULED = "latency_ms", "latency_from_schedule_ms"
_NEEDED = ["tier", "good", "latency_ms", "ended_at", "scheduled_at"]


@once
def data(run: Evidence) -> pd.DataFrame:
    """`tier`, `measure` (latency_ms: from sent; latency_from_schedule_ms: from scheduled), and as in `stairs.table`."""
    requests, _ = stairs.whose(run, _NEEDED)
    place = style.places(requests["tier"], run.frames.tiers)
    found: list[tuple[str, str, np.ndarray]] = []
    for i, tier in enumerate(run.frames.tiers):
        rows = requests[place == i]
        for measure, of in ((_SENT, "sent"), (_SCHEDULED, "scheduled")):
            found.append((tier, measure, latency.latency_ms(rows, of).dropna().to_numpy(float)))
    return stairs.table(found)


def title(run: Evidence) -> str:
    """`Half of the answers ended within: vllm 268 ms, ollama 813 ms`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {NOTHING}"
    parts = []
    for tier in run.frames.tiers:
        p50 = stairs.quantile(rows, tier, _SENT, "p50")
        p99 = stairs.quantile(rows, tier, _SENT, "p99")
        if p50 is not None:
            more = "" if p99 is None else f" (99 %: {style.ms_short(p99)})"
            parts.append(f"{tier} {style.ms_short(p50)}{more}")
    return f"Half of the answers ended within: {', '.join(parts)}"


def draw(run: Evidence) -> Figure:
    """How to read it: the share of a tier's good answers through the gateway that came within a given time. One step per answer.

    Left: from sent. Right: from scheduled; only this one includes the wait before the request could be sent. In a closed loop,
    users wait for each answer before they send the next request, so both hide a hang.
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "latency by tier", NOTHING)
    with rc_context(style.LOOK):
        made = style.figure(height=5.0)
        left, right = made.subplots(1, 2, sharey=True, sharex=True)
        for axes, measure in ((left, _SENT), (right, _SCHEDULED)):
            stairs.panel(axes, run, rows, measure, {})
        left.set_ylabel("share of the answers within this time")
        left.set_xlabel("latency: sent → end")
        loop = "" if run.frames.open_loop else "; closed loop: both hide a hang"
        right.set_xlabel(f"latency: scheduled → end{loop}")
    n = rows[(rows["measure"] == _SENT)].groupby("tier")["n"].first().sum()
    style.title(made, title(run), run, f"n = {n:,} {stairs.whose(run, [])[1]} through the gateway")
    return made

"""Tokens and answers per second over the run, one stacked area per tier, the faults shaded."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.evidence import Evidence
from analysis.figures import shading, style
from analysis.figures.once import once
from analysis.metrics import rates

NOTHING = "no answer came through the gateway whose tier is known"
COLUMNS = 300
LEAST_S = 2.0  # narrower columns show single answers
_NEEDED = ["tier", "good", "stream", "sent_at", "ttft_ms", "ended_at", "output_tokens"]


def _edges(run: Evidence) -> np.ndarray:
    """Since the run's start; the last column may reach beyond its end."""
    high = style.length_s(run)
    wide_s = max(LEAST_S, high / COLUMNS)
    return np.arange(int(np.ceil(high / wide_s)) + 1) * wide_s


@once
def data(run: Evidence) -> pd.DataFrame:
    """A row for each time column and tier: `at_s` (its begin, since the run's start), `tier`, `tokens_per_s`, `answers_per_s`.

    Tokens are of answers with a reported usage (`rates.tokens_over_time`); answers are the good ones that ended in the column.
    """
    requests = run.frames.requests[_NEEDED]
    requests = requests[run.frames.through_gateway & requests["tier"].notna()]
    columns = ["at_s", "tier", "tokens_per_s", "answers_per_s"]
    if requests.empty:
        return pd.DataFrame(columns=columns)
    edges = _edges(run)
    instants = edges + run.frames.started_at
    tokens = rates.tokens_over_time(requests, run.frames.tiers, instants)
    answers = rates.answers_over_time(requests, run.frames.tiers, instants)
    parts = [
        pd.DataFrame({"at_s": edges[:-1], "tier": t, "tokens_per_s": tokens[t].round(6).abs().to_numpy(),
                      "answers_per_s": answers[t].to_numpy()})
        for t in run.frames.tiers
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)[columns]


def title(run: Evidence) -> str:
    """`48 tokens and 4.1 answers a second before the faults, 12 and 3.8 while they held`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {NOTHING}"
    total = rows.groupby("at_s")[["tokens_per_s", "answers_per_s"]].sum()
    at = total.index.to_numpy(float)
    end_s = style.length_s(run)
    wide_s = float(at[1] - at[0]) if len(at) > 1 else end_s
    whole = at + wide_s <= end_s + 1e-6
    start = run.frames.started_at
    base = run.parts[0]
    before = whole & (at + wide_s <= base.end - start)
    held = np.zeros(len(at), dtype=bool)
    for p in shading.phases(run):
        held |= (at >= p.start - start) & (at + wide_s <= p.end - start)
    if not held.any() or not before.any():
        tokens, answers = total[whole].mean() if whole.any() else total.mean()
        return f"{tokens:,.3g} tokens and {answers:,.3g} answers a second"
    (tokens, answers), (less_tokens, less_answers) = total[before].mean(), total[held].mean()
    return (
        f"{tokens:,.3g} tokens and {answers:,.3g} answers a second before the faults, "
        f"{less_tokens:,.3g} and {less_answers:,.3g} while they held"
    )


def draw(run: Evidence) -> Figure:
    """How to read it: the throughput through the gateway, by tier, and how far it fell.

    The areas are stacked. Above: tokens per second, each answer's spread from its first token to its end. Below: good answers
    per second, each in the column in which it ended.
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "throughput", NOTHING)
    high, any_usage = style.length_s(run), bool(rows["tokens_per_s"].any())
    with rc_context(style.LOOK):
        made = style.figure(height=4.6 + 0.26 * shading.rows(run))
        faults, tokens, answers = made.subplots(
            3, 1, sharex=True, height_ratios=[0.26 * shading.rows(run), 2.0, 1.4]
        )
        tokens.set_xlim(0, high)
        shading.strips(faults, run)
        for axes, column in ((tokens, "tokens_per_s"), (answers, "answers_per_s")):
            shading.shade(axes, run)
            _areas(axes, run, rows, column)
        tokens.set_ylabel("output tokens/s")
        answers.set_ylabel("answers/s")
        if not any_usage:
            style.note(tokens, "no answer reported its usage")
        style.time_axis(answers, high)
        served = rows[rows["answers_per_s"] + rows["tokens_per_s"] > 0]["tier"].unique()
        colours = style.tier_colours(run.frames.tiers)
        style.legend(tokens, [Patch(color=c, label=t) for t, c in colours.items() if t in served])
    n = int(run.frames.gateway(["good"])["good"].sum())
    usage = int(run.frames.gateway(["output_tokens"])["output_tokens"].notna().sum())
    at = np.sort(rows["at_s"].unique())
    wide_s = at[1] - at[0] if len(at) > 1 else high
    style.title(
        made, title(run), run,
        f"n = {n:,} good answers, {usage:,} answers with usage, in columns of {wide_s:.3g} s",
    )  # fmt: skip
    return made


def _areas(axes: Axes, run: Evidence, rows: pd.DataFrame, column: str) -> None:
    bottom = None
    wide_s = np.diff(np.sort(rows["at_s"].unique())[:2]).sum() or style.length_s(run)
    for tier, colour in style.tier_colours(run.frames.tiers).items():
        mine = rows[rows["tier"] == tier]
        at, height = mine["at_s"].to_numpy(float), mine[column].to_numpy(float)
        bottom = np.zeros(len(at)) if bottom is None else bottom
        top = bottom + height
        axes.fill_between(
            np.append(at, at[-1] + wide_s), np.append(bottom, bottom[-1]), np.append(top, top[-1]), step="post",
            color=colour, alpha=0.9, lw=0,
        )  # fmt: skip
        bottom = top
    axes.set_ylim(0, max(0.1, float(bottom.max()) * 1.05) if bottom is not None else 1)

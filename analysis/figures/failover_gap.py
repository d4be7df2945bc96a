"""Every trial of every step: how long until the next tier answered, and how long the probe had no good answer."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import metrics, outages
from analysis.checkers import failover as judged
from analysis.evidence import Evidence
from analysis.figures import spread, style
from analysis.figures.once import once
from analysis.trials import summarise
from analysis.windows import Trial

NOTHING = "no fault was injected"
_LANES = {
    metrics.PROBES[0]: ("gap_new", "#777777", -0.22, "gap [lower, upper], new connection"),
    metrics.PROBES[1]: ("gap_kept", "#BBBBBB", 0.22, "gap, kept connection"),
}


@once
def data(run: Evidence) -> pd.DataFrame:
    """A row for each mark of each `step` and `trial`: `failover` (`s`, to `tier`), `gap_new` and `gap_kept` (`lower_s`, `upper_s`).

    And of each step the `median` with its interval, and the `limit`. `censored`: it took longer than `s`; of a gap, its end
    was not seen, and `upper_s` is where the fault ended. Where a failover is unknown, `s` is empty and `why_unknown` says why.
    """
    expected: dict[str, Any] = run.frames.timeline.expect.get("failover", {}) if run.frames.timeline else {}
    rows: list[dict[str, Any]] = []
    for step in dict.fromkeys(t.step for t in run.trials):
        trials = run.trials_of(step)
        named = expected.get("step") == step
        rows += _to_named(run, trials, expected) if named else [_to_first(run, t) for t in trials]
        rows += [gap for t in trials for gap in _gaps(run, t)]
    limits = {expected["step"]: float(expected["max_s"])} if expected else {}
    return spread.with_summaries(pd.DataFrame(rows, columns=spread.COLUMNS), "failover", limits)


def _to_named(run: Evidence, trials: list[Trial], expected: dict[str, Any]) -> list[dict[str, Any]]:
    """The failovers as they are judged: to the tier that the expectation names."""
    found = judged.check(judged.Params.model_validate(expected), run)
    return [
        {"step": t.step, "trial": t.trial, "mark": "failover", "s": v.value, "censored": v.censored,
         "tier": None if v.value is None or v.censored else expected["to"], "why_unknown": v.why}
        for t, v in zip(trials, found.trials, strict=True)
    ]  # fmt: skip


def _to_first(run: Evidence, trial: Trial) -> dict[str, Any]:
    """To whoever answered first, where nobody wrote down who should; judged by nothing, so beyond no limit."""
    row: dict[str, Any] = {"step": trial.step, "trial": trial.trial, "mark": "failover", "censored": False}
    lost_at = run.lost_at(trial)
    if lost_at is None:
        return row | {"why_unknown": "nothing showed the loss"}
    if not outages.was_in_use(run.around(trial), trial, run.frames.ranks):
        return row | {"why_unknown": f"the gateway was not seen to use {trial.target} before"}
    first = outages.first_answer(run.fit(trial), run.frames.covered, trial, lost_at)
    if first is None or float(first["first_at"]) > trial.gone_until:
        return row | {"s": max(0.0, trial.gone_until - lost_at), "censored": True}
    took = outages.as_length(first, lost_at)
    doubt = run.doubt(trial, lost_at, took, float("inf"))
    return row | ({"why_unknown": doubt} if doubt else {"s": took.s, "tier": str(first["tier"])})


def _gaps(run: Evidence, trial: Trial) -> list[dict[str, Any]]:
    lost_at, out = run.lost_at(trial), []
    if lost_at is None:
        return []
    for lane, (mark, *_) in _LANES.items():
        gap = outages.failover_gap(run.around(trial), trial, lost_at, lane, run.frames.ranks)
        if gap is not None:
            seen = gap.upper_s is not None
            upper_s = gap.upper_s if seen else max(gap.lower_s, trial.gone_until - lost_at)
            out.append({"step": trial.step, "trial": trial.trial, "mark": mark, "lower_s": gap.lower_s,
                        "upper_s": upper_s, "censored": not seen})  # fmt: skip
    return out


def says(run: Evidence) -> str:
    """`Failover took 0.43 s in gaming-mode, 0.54 s (median of 9; max 0.9 s) in cpu-tier-too`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {NOTHING}"
    seen = {step: summarise(spread.values(rows, "failover", step)) for step in rows["step"].unique()}
    return spread.says("Failover", seen)


def draw(run: Evidence) -> Figure:
    """How to read it: whether every trial keeps the limit, and how far the trials lie apart.

    A dot is the failover: lost → first token of the first answer by the tier that the expectation names (else by whoever
    answered first). A hollow one with an arrow: it outlasted the fault or the run. Bars are the failover gap of the
    probe's two lanes, from its lower to its upper bound. Red is the limit, the dashes the median of a step, the band
    its exact interval (from six trials on).
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "failover gap", NOTHING)
    with rc_context(style.LOOK):
        made = style.figure(height=1.5 + spread.height(rows))
        axes = made.add_subplot()
        spread.panel(axes, run, rows, "failover", _bars)
        axes.set_xlabel("seconds since the tier was lost")
        marks = spread.legend(run, rows, "failover", "failover to {tier}")
        marks += [
            Line2D([], [], color=colour, lw=5, label=label)
            for mark, colour, _, label in _LANES.values()
            if (rows["mark"] == mark).any()
        ]
        style.legend(axes, marks, most=4)
    n = int((rows["mark"] == "failover").sum())
    style.title(made, says(run), run, f"n = {n} trial{'s' if n != 1 else ''}")
    return made


def _bars(axes: Axes, rows: pd.DataFrame, pitch: float) -> None:
    """The gaps of the two lanes."""
    for mark, colour, shift, _ in _LANES.values():
        mine = rows[rows["mark"] == mark]
        axes.barh(
            mine["at"] + shift * pitch, np.maximum(mine["upper_s"] - mine["lower_s"], 0.0), left=mine["lower_s"],
            height=0.34 * pitch, color=colour, lw=0, zorder=1.5,
        )  # fmt: skip

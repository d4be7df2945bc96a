"""Every trial of every step: how long until the next tier answered, and how long the probe had no good answer."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.checkers import failover as judged
from analysis.evidence import Evidence
from analysis.figures import spread, style
from analysis.figures.once import once
from analysis.metrics import outages, shares
from analysis.metrics.trials import summarise
from analysis.metrics.windows import Trial

NOTHING = "no fault was injected"
_HATCH = "//////"
_LANES = {
    shares.PROBES[0]: ("gap_new", "#666666", -0.22, "new"),
    shares.PROBES[1]: ("gap_kept", "#A6A6A6", 0.22, "kept"),
}


@once
def data(run: Evidence) -> pd.DataFrame:
    """A row for each mark of each `step` and `trial`: `failover` (`s`, to `tier`), `gap_new` and `gap_kept` (`lower_s`, `upper_s`).

    Each step also has the `median` with its interval, the `limit` of the failover and the `gap_limit`. `censored`: the failover
    took longer than `s`; the end of a gap was not seen, and `upper_s` is where the fault ended. If a failover is unknown, `s` is
    empty and `why_unknown` has the reason.
    """
    expected: dict[str, Any] = run.frames.timeline.expect.get("failover", {}) if run.frames.timeline else {}
    rows: list[dict[str, Any]] = []
    for step in dict.fromkeys(t.step for t in run.trials):
        trials = run.trials_of(step)
        named = expected.get("step") == step
        rows += _to_named(run, trials, expected) if named else [_to_first(run, t) for t in trials]
        rows += [gap for t in trials for gap in _gaps(run, t)]
    limits = {expected["step"]: float(expected["max_s"])} if expected else {}
    gap = run.frames.timeline.expect.get("failover_gap") if run.frames.timeline else None
    if gap and any(t.step == gap.get("step") for t in run.trials):
        rows.append({"step": gap["step"], "mark": "gap_limit", "s": float(gap["max_s"]), "censored": False})
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
    """To the first tier that answered, if no expectation names a tier. No limit applies."""
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


def title(run: Evidence) -> str:
    """`Failover took 0.43 s in gaming-mode; the probe's longest gap: at least 0.2 s, at most 1.4 s`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {NOTHING}"
    seen = {step: summarise(spread.values(rows, "failover", step)) for step in rows["step"].unique()}
    return "; ".join(filter(None, [spread.title("Failover", seen), _longest(rows)]))


def _longest(rows: pd.DataFrame) -> str:
    """The gap that may have been the longest: its certain and its possible length."""
    gaps = rows[rows["mark"].isin([mark for mark, *_ in _LANES.values()])]
    if gaps.empty:
        return ""
    longest = gaps.sort_values(["censored", "upper_s"]).iloc[-1]
    least, most = (style.seconds_text(float(longest[name])) for name in ("lower_s", "upper_s"))
    end = "and its end was not seen" if longest["censored"] else f"at most {most}"
    return f"the probe's longest gap: at least {least}, {end}"


def draw(run: Evidence) -> Figure:
    """How to read it: whether every trial is within the limit, and how much the trials differ.

    A dot is the failover: lost → first token of the first answer by the tier that the expectation names (by default the first
    tier that answered). A hollow dot with an arrow: the failover outlasted the fault or the run. Bars are the failover gap of
    the probe's two lanes, the time without a good answer. Filled: certain (up to the lower bound). Hatched: possible (up to the
    upper bound; the probe sees nothing between two of its requests). With an arrow: the end was not seen. The red line is the
    limit of the failover, the dotted line the limit of the gap. The gap passes if the hatched part also ends before the line,
    fails if the filled part crosses it, and is unknown otherwise. The dashes are the median of a step, the band its exact
    interval (from six trials).
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "failover gap", NOTHING)
    with rc_context(style.LOOK):
        made = style.figure(height=1.5 + spread.height(rows))
        axes = made.add_subplot()
        spread.panel(axes, run, rows, "failover", _bars)
        axes.set_xlabel("seconds: of a dot since the tier was lost, of a bar without a good answer")
        marks = spread.legend(run, rows, "failover", "failover to {tier}", "limit of the failover")
        for mark, colour, _, lane in _LANES.values():
            if (rows["mark"] == mark).any():
                marks.append(Patch(color=colour, label=f"gap, {lane} connection: certain"))
                marks.append(_possible(colour, f"gap, {lane} connection: possible"))
        for s in rows.loc[rows["mark"] == "gap_limit", "s"].unique():
            marks.append(Line2D([], [], color=style.LIMIT, lw=2, ls=":", label=f"limit of the gap {s:g} s"))
        style.legend(axes, marks, most=4)
    n = int((rows["mark"] == "failover").sum())
    style.title(made, title(run), run, f"n = {n} trial{'s' if n != 1 else ''}")
    return made


def _bars(axes: Axes, rows: pd.DataFrame, pitch: float) -> None:
    """The gaps of the two lanes: what is certain, and beyond it what is possible."""
    for mark, colour, shift, _ in _LANES.values():
        mine = rows[rows["mark"] == mark]
        at, more_s = mine["at"] + shift * pitch, np.maximum(mine["upper_s"] - mine["lower_s"], 0.0)
        axes.barh(at, mine["lower_s"], height=0.34 * pitch, color=colour, lw=0, zorder=1.6)
        axes.barh(
            at, more_s, left=mine["lower_s"], height=0.34 * pitch, facecolor="white", edgecolor=colour, hatch=_HATCH,
            lw=0.6, zorder=1.5,
        )  # fmt: skip
        for end_s, y in zip(mine.loc[mine["censored"], "upper_s"], at[mine["censored"]], strict=True):
            spread.onward(axes, end_s, y, colour)


def _possible(colour: str, label: str) -> Patch:
    return Patch(facecolor="white", edgecolor=colour, hatch=_HATCH, lw=0.6, label=label)

"""Every trial of every step: the time from the verified restore until the tier served again."""

import sys
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.checkers import recovery as judged
from analysis.evidence import Evidence
from analysis.figures import spread, style
from analysis.figures.once import once
from analysis.metrics.trials import summarise

NOTHING = "no fault was injected"


@once
def data(run: Evidence) -> pd.DataFrame:
    """A row for each trial of each `step`: `recovery` (`s`, by `tier`), and for each step the `median` and the `limit`.

    `censored`: it took longer than `s`. If it is unknown or could not be seen, `s` is empty and `why_unknown` has the reason.
    """
    expected: dict[str, Any] = run.frames.timeline.expect.get("recovery", {}) if run.frames.timeline else {}
    rows: list[dict[str, Any]] = []
    limits = {}
    for step in dict.fromkeys(t.step for t in run.trials):
        if expected and expected.get("step") in (None, step):
            limits[step] = float(expected["max_s"])
        # As the checker judges it; without an expectation there is no limit.
        found = judged.check(judged.Params(step=step, max_s=limits.get(step, sys.float_info.max)), run)
        values = {v.trial: v for v in found.trials}
        for t in run.trials_of(step):
            row: dict[str, Any] = {"step": step, "trial": t.trial, "mark": "recovery", "censored": False}
            v = values.get(t.trial)
            doubt = run.recovery(t, 0.0)[1] if v is not None and v.censored else None
            if v is None:
                row |= {"why_unknown": f"a higher tier served when {t.target} returned"}
            elif doubt is not None:  # without requests in that time, no recovery is censored
                row |= {"why_unknown": doubt}
            else:
                seen = v.value is not None and not v.censored
                row |= {
                    "s": v.value,
                    "censored": v.censored,
                    "tier": t.target if seen else None,
                    "why_unknown": v.why,
                }
            rows.append(row)
    return spread.with_summaries(pd.DataFrame(rows, columns=spread.COLUMNS), "recovery", limits)


def title(run: Evidence) -> str:
    """`Recovery took 12.1 s in gaming-mode; cpu-tier-too: recovery is unknown`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {NOTHING}"
    return spread.title(
        "Recovery", {step: summarise(spread.values(rows, "recovery", step)) for step in rows["step"].unique()}
    )


def draw(run: Evidence) -> Figure:
    """How to read it: whether every trial is within the limit, and how much the trials differ.

    A dot is the recovery: restore verified → first token of the first of three consecutive answers by the returned tier. A
    hollow dot with an arrow: not seen before the next fault or the end of the run. Red is the limit, the dashes the median of a
    step, the band its exact interval (from six trials).
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "recovery", NOTHING)
    with rc_context(style.LOOK):
        made = style.figure(height=1.5 + spread.height(rows))
        axes = made.add_subplot()
        spread.panel(axes, run, rows, "recovery", _nothing_beside)
        axes.set_xlabel("seconds since the restore was verified")
        style.legend(axes, spread.legend(run, rows, "recovery", "{tier} serves again"), most=4)
    n = int((rows["mark"] == "recovery").sum())
    style.title(made, title(run), run, f"n = {n} trial{'s' if n != 1 else ''}")
    return made


def _nothing_beside(axes: Axes, rows: pd.DataFrame, pitch: float) -> None:
    pass

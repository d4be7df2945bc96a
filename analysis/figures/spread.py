"""The spread of the trials of a step: one row per trial, one dot per length. Shared by failover_gap and recovery.

With many trials the rows are thin, the first at the top: a drift over the trials shows as a slope.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.evidence import Evidence
from analysis.figures import style
from analysis.metrics.trials import Summary, Value, summarise
from contract.records import GATEWAY

COLUMNS = ["step", "trial", "mark", "s", "lower_s", "upper_s", "censored", "tier", "why_unknown"]
_ROW = 0.30  # inches of a trial's row, as long as they are few
_MOST = 3.4  # inches of a step's rows together


def values(rows: pd.DataFrame, mark: str, step: str) -> list[Value]:
    """The trials of one step, as `trials.summarise` takes them."""
    mine = rows[(rows["step"] == step) & (rows["mark"] == mark)]
    return [
        Value(step, int(trial), None if pd.isna(s) else float(s), bool(censored))
        for trial, s, censored in zip(mine["trial"], mine["s"], mine["censored"], strict=True)
    ]


def with_summaries(rows: pd.DataFrame, mark: str, limits: dict[str, float]) -> pd.DataFrame:
    """The trials' rows, and per step: its `median` with the exact interval (an open upper end is empty), its `limit`."""
    more: list[dict[str, Any]] = []
    for step in rows["step"].unique():
        seen = summarise(values(rows, mark, step))
        if seen.n > 1:
            low, high = seen.interval or (None, None)
            more.append({"step": step, "mark": "median", "s": seen.median, "lower_s": low, "upper_s": high,
                         "censored": seen.median_censored})  # fmt: skip
        if step in limits:
            more.append({"step": step, "mark": "limit", "s": limits[step], "censored": False})
    whole = pd.DataFrame([*rows.to_dict("records"), *more], columns=COLUMNS)
    return whole.astype({"trial": "Int64", "s": float, "lower_s": float, "upper_s": float, "censored": bool})


def height(rows: pd.DataFrame) -> float:
    """Inches that the rows of all steps take."""
    counts = rows[rows["trial"].notna()].groupby("step")["trial"].nunique()
    return float(sum(min(_MOST, max(0.55, _ROW * n)) + 0.22 for n in counts))


def title(what: str, steps: dict[str, Summary]) -> str:
    """`Failover took 0.43 s in gaming-mode, 0.54 s (median of 9; max 0.9 s) in cpu-tier-too`, and what was not seen."""
    took = [
        f"{_text(seen)} in {step}"
        for step, seen in steps.items()
        if seen.median is not None and not _never(seen)
    ]
    parts = [f"{what} took {', '.join(took)}"] if took else []
    for step, seen in steps.items():
        if _never(seen) and seen.maximum is not None:
            longest = style.seconds_text(seen.maximum)
            parts.append(
                f"{step}: no {what.lower()} within {longest}"
                + (f" in any of {seen.n} trials" if seen.n > 1 else "")
            )
        elif not seen.n:
            parts.append(f"{step}: {what.lower()} is unknown")
    return "; ".join(parts)


def _never(seen: Summary) -> bool:
    return bool(seen.n) and seen.censored == seen.n


def _text(seen: Summary) -> str:
    assert seen.maximum is not None
    assert seen.median is not None
    most = f"{'> ' if seen.maximum_censored else ''}{style.seconds_text(seen.maximum)}"
    if seen.n == 1:
        return most
    middle = f"{'> ' if seen.median_censored else ''}{style.seconds_text(seen.median)}"
    return f"{middle} (median of {seen.n}; max {most})"


def panel(
    axes: Axes,
    run: Evidence,
    rows: pd.DataFrame,
    mark: str,
    beside: Callable[[Axes, pd.DataFrame, float], None],
) -> None:
    """`mark`: the mark that is drawn as a dot. `beside` draws the other marks of one step; it gets the height of a row."""
    colours, top, ticks = style.tier_colours(run.frames.tiers), 0.0, []
    furthest = float(np.nanmax(rows[["s", "upper_s"]].to_numpy(float), initial=0.0)) or 1.0
    axes.set_xlim(0, furthest * 1.08)
    for step in rows["step"].unique():
        mine = rows[rows["step"] == step]
        of_trials = mine[mine["trial"].notna()]
        trials = np.sort(of_trials["trial"].unique())
        inches = min(_MOST, max(0.55, _ROW * len(trials)))
        pitch = inches / len(trials)
        at = {trial: top + pitch * (i + 0.5) for i, trial in enumerate(trials)}
        placed = of_trials.assign(at=of_trials["trial"].map(at).astype(float))
        beside(axes, placed, pitch)
        _dots(axes, placed[placed["mark"] == mark], colours, pitch)
        _summary(axes, mine, top, top + inches)
        ticks += _ticks(step, trials, at, pitch)
        top += inches + 0.22
    axes.set_ylim(top - 0.11, -0.11)
    axes.set_yticks([t for t, _ in ticks], [name for _, name in ticks])
    axes.grid(axis="y", visible=False)


def _ticks(step: str, trials: np.ndarray, at: dict[Any, float], pitch: float) -> list[tuple[float, str]]:
    """The names of all trials if there is room, else of some."""
    name = style.shortened(step)
    every = 1 if pitch >= 0.15 else int(np.ceil(0.3 / pitch))
    shown = [t for i, t in enumerate(trials) if i % every == 0]
    return [(at[t], f"{name} #{t}") for t in shown]


def _dots(axes: Axes, dots: pd.DataFrame, colours: dict[str, str], pitch: float) -> None:
    size = 7.0 if pitch >= 0.15 else 4.0
    paint = np.array([colours.get(str(t), style.FAILED) for t in dots["tier"]], dtype=object)
    censored, known = dots["censored"].to_numpy(bool), dots["s"].notna().to_numpy(bool)
    seen = known & ~censored
    axes.scatter(dots["s"][seen], dots["at"][seen], s=size**2, c=list(paint[seen]), lw=0, alpha=0.9, zorder=4)
    for s, at in zip(dots["s"][censored & known], dots["at"][censored & known], strict=True):
        axes.plot(s, at, marker="o", ms=size, color="white", mec=style.FAILED, mew=1.1, zorder=4)
        onward(axes, s, at, style.FAILED, size / 2)
    for at, why in zip(dots["at"][~known], dots["why_unknown"][~known], strict=True):
        words = "unknown" if pd.isna(why) else f"unknown: {why}"
        if pitch >= 0.15:
            axes.text(0.01, at, words, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5,
                      color="#555555", zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.9})  # fmt: skip
        else:
            axes.plot(0.004, at, marker="x", ms=4, color=style.UNKNOWN, transform=axes.get_yaxis_transform())


def onward(axes: Axes, s: float, at: float, colour: str, beside: float = 0.0) -> None:
    """An arrow to the right: its end was not seen."""
    axes.annotate("", (s, at), (s + 0.045 * axes.get_xlim()[1], at), zorder=3, annotation_clip=False,
                  arrowprops={"arrowstyle": "<-", "color": colour, "shrinkA": 0, "shrinkB": beside})  # fmt: skip


def _summary(axes: Axes, rows: pd.DataFrame, top: float, bottom: float) -> None:
    """The median as a dashed line, its interval as a pale band, the limit as a line."""
    for s, lower_s, upper_s in rows.loc[rows["mark"] == "median", ["s", "lower_s", "upper_s"]].to_numpy(
        float
    ):
        if np.isfinite(lower_s):
            end_s = upper_s if np.isfinite(upper_s) else axes.get_xlim()[1]
            axes.fill_betweenx([top, bottom], lower_s, end_s, color=style.INK, alpha=0.13, lw=0, zorder=1)
        axes.plot([s, s], [top, bottom], color=style.INK, lw=1.6, ls="--", zorder=3)
    for mark, dashes in (("limit", "-"), ("gap_limit", ":")):
        for s in rows.loc[rows["mark"] == mark, "s"]:
            axes.plot([s, s], [top, bottom], color=style.LIMIT, lw=2, ls=dashes, zorder=2)


def legend(run: Evidence, rows: pd.DataFrame, mark: str, words: str, limit: str = "limit") -> list[Any]:
    """Legend entries for the marks that occur. `words`: label of a tier's dot, `failover to {tier}`; `limit`: label of the limit."""
    dots = rows[rows["mark"] == mark]
    by = set(dots.loc[~dots["censored"] & dots["s"].notna(), "tier"].dropna().astype(str))
    marks: list[Any] = [
        Line2D([], [], marker="o", ls="", color=c, label=words.format(tier=t))
        for t, c in (style.tier_colours(run.frames.tiers) | {GATEWAY: style.FAILED}).items()
        if t in by
    ]
    if dots["censored"].any():
        marks.append(
            Line2D([], [], marker="o", ls="", color="white", mec=style.FAILED, label="longer than this")
        )
    medians = rows[rows["mark"] == "median"]
    if len(medians):
        marks.append(Line2D([], [], color=style.INK, lw=1.6, ls="--", label="median"))
    if medians["lower_s"].notna().any():
        marks.append(Line2D([], [], color=style.INK, lw=7, alpha=0.13, label="its 95 % interval"))
    limits = rows.loc[rows["mark"] == "limit", "s"].unique()
    if len(limits):
        marks.append(
            Line2D(
                [], [], color=style.LIMIT, lw=2, label=f"{limit} {' and '.join(f'{s:g} s' for s in limits)}"
            )
        )
    return marks

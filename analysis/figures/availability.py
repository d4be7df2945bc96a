"""When the gateway was down, when it was slow, and when nobody asked, by the probe; and the worst windows."""

from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.checkers.availability import Params
from analysis.evidence import Evidence
from analysis.figures import shading, style
from analysis.figures.once import once
from analysis.metrics import availability

NOTHING = "the probe sent no request"
_COLOURS = {"down": "#B2182B", "brown": "#8C6D31", "not asked": "#9A9A9A"}
_LEAST = 0.0018  # share of the width below which a stretch could not be seen
_COLUMNS = ["mark", "start_s", "end_s", "s", "upper_s", "limit_s"]


@once
def data(run: Evidence) -> pd.DataFrame:
    """A row for each stretch in which the gateway was `down` or `brown`, or the probe did `not record`: `start_s`, `end_s`, `s`.

    `watched` is the time in which it was to ask: what of that is none of these was good. `worst 10 s` is the window of that
    length with the most seconds without a good answer: `s`; `upper_s` counts what was not asked as well; `limit_s` is what
    the expectation allows in such a window.
    """
    if run.down is None:
        return pd.DataFrame(columns=_COLUMNS)
    start, end = run.probed
    zero = run.frames.started_at
    rows: list[dict[str, Any]] = [
        {"mark": "watched", "start_s": start - zero, "end_s": end - zero, "s": end - start}
    ]
    for mark, found in (("down", run.down), ("brown", run.brown), ("not asked", run.unprobed)):
        if found is not None:
            rows += [
                {"mark": mark, "start_s": a - zero, "end_s": b - zero, "s": b - a}
                for a, b in zip(found.start, found.end, strict=True)
            ]
    window_s, limit_s = _expected(run)
    without = availability.union(run.down, run.unprobed)
    for length_s in sorted({*availability.WINDOWS_S, *([window_s] if window_s is not None else [])}):
        s, at = availability.worst_window(run.down, length_s)
        upper_s, upper_at = availability.worst_window(without, length_s)
        begins = at if at is not None else upper_at
        row: dict[str, Any] = {"mark": f"worst {length_s:g} s", "s": s, "upper_s": upper_s}
        if begins is not None:
            row |= {"start_s": begins - zero, "end_s": begins + length_s - zero}
        rows.append(row | ({"limit_s": limit_s} if length_s == window_s else {}))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _expected(run: Evidence) -> tuple[float | None, float | None]:
    """(window, limit) of the expectation, in seconds; a limit over the whole run is no window."""
    expected = run.frames.timeline.expect.get("availability") if run.frames.timeline else None
    if not expected:
        return None, None
    params = Params.model_validate(expected)
    return params.window, params.max_s


def says(run: Evidence) -> str:
    """`Down for 1.24 s of 203 s, in 2 stretches; at worst 0.61 s of any 10 s`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {NOTHING}"
    all_s = _lengths(rows)
    watched = style.span_text(float(rows.loc[rows["mark"] == "watched", "s"].iloc[0]))
    count = int((rows["mark"] == "down").sum())
    if count:
        worst = float(rows.loc[rows["mark"] == "worst 10 s", "s"].iloc[0])
        told = (
            f"Down for {style.seconds_text(all_s['down'])} of {watched}, in {count} stretch{'es' if count != 1 else ''}; "
            f"at worst {style.seconds_text(worst)} of any 10 s"
        )
    else:
        told = f"Never seen down in {watched}"
    if all_s["brown"]:
        told += f"; brown for {style.seconds_text(all_s['brown'])}"
    if all_s["not asked"]:
        told += f"; for {style.seconds_text(all_s['not asked'])} nobody asked"
    return told


def _lengths(rows: pd.DataFrame) -> dict[str, float]:
    return {mark: float(rows.loc[rows["mark"] == mark, "s"].sum()) for mark in _COLOURS}


def draw(run: Evidence) -> Figure:
    """How to read it: above when there was no good answer (down), none within the objective (brown), and when the probe
    that should have asked did not; what is pale in the row of `down` was served.

    Below the worst windows: how much of the worst second, ten seconds, minute had no good answer; hatched what was not asked
    besides.
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "availability", NOTHING)
    high = style.length_s(run)
    worst = rows[rows["mark"].str.startswith("worst")]
    strip = 0.26 * shading.rows(run)
    with rc_context(style.LOOK):
        made = style.figure(height=3.1 + strip + 0.3 * len(worst))
        parts: Any = made.subfigures(2, 1, height_ratios=[1.75 + strip, 0.85 + 0.3 * len(worst)])
        over_time, windows = parts
        faults, service = over_time.subplots(2, 1, sharex=True, height_ratios=[strip, 1.0])
        service.set_xlim(0, high)
        shading.strips(faults, run)
        shading.shade(service, run)
        _stretches(service, run, rows, high)
        style.time_axis(service, high)
        _windows(windows.add_subplot(), run, worst)
    n = int(run.frames.gateway(["lane"])["lane"].isin(availability.PROBES).sum())
    style.title(made, says(run), run, f"n = {n:,} requests of the probe")
    return made


def _stretches(axes: Axes, run: Evidence, rows: pd.DataFrame, high: float) -> None:
    all_s = _lengths(rows)
    watched = rows[rows["mark"] == "watched"].iloc[0]
    labels = []
    for i, (mark, colour) in enumerate(_COLOURS.items()):
        known = mark != "brown" or run.brown is not None
        labels.append(f"{mark}: {style.seconds_text(all_s[mark])}" if known else f"{mark}: no objective")
        if known:
            axes.broken_barh(
                [(watched["start_s"], watched["s"])], (i - 0.33, 0.66), color="#EDF1F4", lw=0, zorder=1
            )
        mine = rows[rows["mark"] == mark]
        spans = [(a, max(s, _LEAST * high)) for a, s in zip(mine["start_s"], mine["s"], strict=True)]
        axes.broken_barh(spans, (i - 0.33, 0.66), color=colour, lw=0, zorder=2)
    axes.set_ylim(len(_COLOURS) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _windows(axes: Axes, run: Evidence, worst: pd.DataFrame) -> None:
    """A bar for each length of window, whole at its right end."""
    limits = []
    for i, row in enumerate(worst.to_dict("records")):
        length_s = float(str(row["mark"]).removeprefix("worst ").removesuffix(" s"))
        share, upper = row["s"] / length_s, row["upper_s"] / length_s
        axes.barh(i, 1, height=0.62, color="#EDF1F4", lw=0)
        axes.barh(i, share, height=0.62, color=_COLOURS["down"], lw=0, zorder=2)
        axes.barh(i, max(0.0, upper - share), left=share, height=0.62, color="white", edgecolor=_COLOURS["not asked"],
                  hatch="////", lw=0.5, zorder=2)  # fmt: skip
        told = f"{style.seconds_text(row['s'])} of {length_s:g} s"
        if upper > share + 0.005:
            told = f"{style.seconds_text(row['s'])} to {style.seconds_text(row['upper_s'])} of {length_s:g} s"
        if pd.notna(row["start_s"]):
            told += f", from +{style.span_text(max(0.0, row['start_s']))} on"
        axes.text(1.01, i, told, va="center", fontsize=8.5, transform=axes.get_yaxis_transform())
        if pd.notna(row["limit_s"]):
            at = row["limit_s"] / length_s
            axes.plot([at, at], [i - 0.42, i + 0.42], color=style.LIMIT, lw=2.5, zorder=3)
            limits.append(f"limit {row['limit_s']:g} s of {length_s:g} s")
    axes.set_ylim(len(worst) - 0.5, -0.5)
    axes.set_yticks(range(len(worst)), [str(m) for m in worst["mark"]])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}".replace("%", " %"))
    axes.set_xlabel("share of the window")
    axes.grid(axis="y", visible=False)
    marks: list[Any] = [Patch(color=_COLOURS["down"], label="without a good answer")]
    if (worst["upper_s"] > worst["s"] + 0.005).any():
        marks.append(
            Patch(facecolor="white", edgecolor=_COLOURS["not asked"], hatch="////", label="not asked")
        )
    marks += [Line2D([], [], color=style.LIMIT, lw=2.5, label=label) for label in limits]
    style.legend(axes, marks)

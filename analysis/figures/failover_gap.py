"""Every trial of every step: how long until the next tier answered, and how long the probe had no good answer."""

from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import metrics, outages
from analysis.evidence import Evidence
from analysis.figures import style
from analysis.trials import Value, summarise
from analysis.windows import Trial

_LANES = {metrics.PROBES[0]: ("#777777", -0.17), metrics.PROBES[1]: ("#BBBBBB", 0.17)}
_NAMES = {metrics.PROBES[0]: "gap [lower, upper], new connection", metrics.PROBES[1]: "gap, kept connection"}


def draw(run: Evidence) -> Figure:
    """What is to be seen: whether every trial keeps the limit, and how far the trials lie apart.

    A dot is the failover: lost → first token of the first answer by the tier that the expectation names (else by whoever
    answered first). A hollow one with an arrow: it outlasted the fault or the run. Bars are the failover gap of the
    probe's two lanes, from its lower to its upper bound. The line is the limit, the dash the median of a step.
    """
    steps: dict[str, list[tuple[Trial, outages.Length]]] = {}
    for t in run.trials:
        lost_at = run.lost_at(t)
        to = None if lost_at is None else _to(run, t, lost_at)
        if lost_at is not None and to is not None:
            took = outages.failover(run.fit(t), run.frames.covered, t, lost_at, to)
            steps.setdefault(t.step, []).append((t, took))
    if not steps:
        return style.empty(run, "failover gap", "no loss of a tier was seen")
    with rc_context(style.LOOK):
        made = style.figure(height=1.6 + 0.34 * sum(map(len, steps.values())) + 0.3 * len(steps))
        axes = made.add_subplot()
        _rows(axes, run, steps)
    n = sum(map(len, steps.values()))
    style.title(made, _says(steps), run, f"n = {n} trial{'s' if n != 1 else ''}")
    return made


def _expected(run: Evidence) -> dict[str, Any]:
    return run.frames.timeline.expect.get("failover", {}) if run.frames.timeline else {}


def _to(run: Evidence, trial: Trial, lost_at: float) -> str | None:
    """The tier whose answer ends the failover of this trial; None where nobody answered and nothing was expected."""
    wanted = _expected(run)
    if wanted.get("step") == trial.step:
        return str(wanted["to"])
    first = outages.first_answer(run.fit(trial), run.frames.covered, trial, lost_at)
    if first is not None:
        return str(first["tier"])
    tiers = run.frames.tiers
    place = tiers.index(trial.target) + 1 if trial.target in tiers else len(tiers)
    return tiers[place] if place < len(tiers) else None


def _rows(axes: Axes, run: Evidence, steps: dict[str, list[tuple[Trial, outages.Length]]]) -> None:
    colours, labels, row = style.tier_colours(run.frames.tiers), [], 0.0
    expected, furthest, limit = _expected(run), 0.0, None
    by: set[str] = set()  # the tiers that took over
    for step, trials in steps.items():
        top = row
        for t, took in trials:
            furthest = max(furthest, took.s, _bars(axes, run, t, row))
            tier = _tier(run, t, took)
            by.add(tier)
            colour = colours.get(tier, style.FAILED)
            axes.plot(
                took.s, row, marker="o", ms=7, color="none" if took.censored else colour, mec=colour, zorder=4
            )
            if took.censored:
                axes.annotate("", (took.s, row), (18, 0), textcoords="offset points",
                              arrowprops={"arrowstyle": "<-", "color": colour})  # fmt: skip
            labels.append((row, t.name))
            row += 1
        values = [Value(step, t.trial, took.s, took.censored) for t, took in trials]
        middle = summarise(values).median
        if len(trials) > 1 and middle is not None:
            axes.plot([middle, middle], [top - 0.45, row - 0.55], color=style.INK, lw=1.6, ls="--", zorder=3)
        if expected.get("step") == step:
            limit = float(expected["max_s"])
            axes.plot([limit, limit], [top - 0.5, row - 0.5], color=style.LIMIT, lw=2, zorder=2)
        row += 0.5
    axes.set_yticks([at for at, _ in labels], [name for _, name in labels])
    axes.set_ylim(row - 0.7, -0.8)
    axes.set_xlim(0, max(furthest, limit or 0) * 1.08 or 1)
    axes.set_xlabel("seconds")
    axes.grid(axis="y", visible=False)
    _legend(axes, run, by, limit, any(len(t) > 1 for t in steps.values()))


def _bars(axes: Axes, run: Evidence, trial: Trial, row: float) -> float:
    """The gaps of the two lanes; how far they reach."""
    lost_at, reach = run.lost_at(trial), 0.0
    assert lost_at is not None
    for lane, (colour, shift) in _LANES.items():
        gap = outages.failover_gap(run.around(trial), trial, lost_at, lane)
        if gap is None:
            continue
        upper = gap.upper_s if gap.upper_s is not None else trial.gone_until - lost_at
        axes.barh(
            row + shift, upper - gap.lower_s, left=gap.lower_s, height=0.26, color=colour, lw=0, zorder=1
        )
        reach = max(reach, upper)
    return reach


def _tier(run: Evidence, trial: Trial, took: outages.Length) -> str:
    """Who gave the answer that ended it; "" where none did."""
    asks = run.around(trial)
    tier = asks.loc[asks["request_id"] == took.ask, "tier"]
    return str(tier.iloc[0]) if len(tier) else ""


def _legend(axes: Axes, run: Evidence, by: set[str], limit: float | None, medians: bool) -> None:
    """`by`: the tiers that took over, and "" where one failover outlasted its fault."""
    marks: list[Any] = [
        Line2D([], [], marker="o", ls="", color=c, label=f"failover to {t}")
        for t, c in style.tier_colours(run.frames.tiers).items()
        if t in by
    ]
    marks += [Line2D([], [], color=c, lw=5, label=_NAMES[lane]) for lane, (c, _) in _LANES.items()]
    if "" in by:
        marks.insert(
            0, Line2D([], [], marker="o", ls="", color="none", mec=style.FAILED, label="longer than this")
        )
    if medians:
        marks.append(Line2D([], [], color=style.INK, lw=1.6, ls="--", label="median"))
    if limit is not None:
        marks.append(Line2D([], [], color=style.LIMIT, lw=2, label=f"limit {limit:g} s"))
    axes.legend(handles=marks, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, columnspacing=1.4)


def _says(steps: dict[str, list[tuple[Trial, outages.Length]]]) -> str:
    parts = []
    for step, trials in steps.items():
        seen = summarise([Value(step, t.trial, took.s, took.censored) for t, took in trials])
        assert seen.maximum is not None
        more = "> " if seen.censored else ""
        longest = f"{more}{style.seconds_text(seen.maximum)}"
        parts.append(f"{longest} in {step}" + (f" (max of {seen.n})" if seen.n > 1 else ""))
    return "Failover took " + ", ".join(parts)

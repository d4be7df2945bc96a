"""The outcome of every request, per tier, as counts; good answers by the witness that verified them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from analysis.evidence import Evidence
from analysis.figures import style
from analysis.figures.once import once
from contract.records import GATEWAY, Outcome, Witness

NOTHING = "no request was sent"
_GOOD = {
    Witness.END: "ok\nby its end", Witness.USAGE: "ok\nby usage", Witness.CONTENT: "ok\nby content",
    Witness.NONE: "ok\nunverified", "": "ok\nunknown",
}  # fmt: skip
_COLUMNS = ["via", "tier", "outcome", "witness", "requests"]


@once
def data(run: Evidence) -> pd.DataFrame:
    """A row for each combination of `via` (gateway, or the tier that got the request directly), `tier` (that answered; empty:
    unknown), `outcome` and `witness` (of good answers; empty: unknown) that occurs: the number of `requests`, of all lanes.
    """
    requests = run.frames.requests[["via", "tier", "outcome", "witness"]]
    if requests.empty:
        return pd.DataFrame(columns=_COLUMNS)
    counts = requests.groupby(list(requests.columns), dropna=False, observed=True).size()
    table = counts.rename("requests").reset_index()
    for name in ("via", "tier", "outcome", "witness"):
        text = table[name].astype(object)
        table[name] = text.where(text.notna(), "")
    table.loc[table["outcome"] != Outcome.OK, "witness"] = ""
    table = table.groupby(["via", "tier", "outcome", "witness"], sort=False)["requests"].sum().reset_index()
    places = {name: i for i, name in enumerate([GATEWAY, *run.frames.tiers, ""])}
    orders = {str(o): i for i, o in enumerate(Outcome)}
    keys = table.assign(
        a=table["via"].map(places), b=table["tier"].map(places), c=table["outcome"].map(orders)
    ).sort_values(["a", "b", "c", "witness"], kind="stable")  # fmt: skip
    return keys[_COLUMNS].reset_index(drop=True)


def title(run: Evidence) -> str:
    """`1,803 requests through the gateway: 1,798 good, 5 cut; the good ones verified by end 1,798`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {NOTHING}"
    through = rows[rows["via"] == GATEWAY]
    what = "through the gateway"
    if through.empty:
        through, what = rows, "direct to a tier"
    n = int(through["requests"].sum())
    of = through.groupby("outcome")["requests"].sum()
    parts = [
        f"{int(of.get(Outcome.OK, 0)):,} good",
        *(f"{int(of[o]):,} {o}" for o in Outcome if o != Outcome.OK and o in of.index),
    ]
    good = through[through["outcome"] == Outcome.OK].groupby("witness")["requests"].sum()
    if not len(good):
        return f"{n:,} requests {what}: {', '.join(parts)}"
    weak = {Witness.NONE: "unverified", "": "witness unknown"}
    verified = [f"{int(good[w]):,} {weak.get(w, f'by {w}')}" for w in [*Witness, ""] if w in good.index]
    return f"{n:,} requests {what}: {', '.join(parts)}; good ones verified: {', '.join(verified)}"


def draw(run: Evidence) -> Figure:
    """How to read it: one row for each tier that answered, one column for each outcome; the number is the count of requests.

    Good answers are on the left, by the witness that verified that they are whole: `end` (the answer reached its cap), `usage`
    (the usage reached it; weaker), `content` (the content shows it). The darker a cell, the larger its share of the row.
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "outcomes", NOTHING)
    # The tier of a direct request is known even if it did not answer: one row.
    rows = rows.assign(tier=rows["tier"].where((rows["via"] == GATEWAY) | (rows["tier"] != ""), rows["via"]))
    lines = list(dict.fromkeys(zip(rows["via"], rows["tier"], strict=True)))
    good = rows["outcome"] == Outcome.OK
    heads: list[tuple[str, str]] = [
        (str(Outcome.OK), str(w)) for w in _GOOD if (good & (rows["witness"] == w)).any()
    ]
    heads += [(str(o), "") for o in Outcome if o != Outcome.OK and (rows["outcome"] == o).any()]
    with rc_context(style.LOOK):
        made = style.figure(height=1.6 + 0.36 * len(lines))
        axes = made.add_subplot()
        _cells(axes, run, rows, lines, heads)
    style.title(made, title(run), run, f"n = {int(rows['requests'].sum()):,} requests of all lanes")
    return made


def _cells(
    axes: Axes, run: Evidence, rows: pd.DataFrame, lines: list[tuple[str, str]], heads: list[tuple[str, str]]
) -> None:
    colours = style.tier_colours(run.frames.tiers)
    for i, (via, tier) in enumerate(lines):
        mine = rows[(rows["via"] == via) & (rows["tier"] == tier)]
        n = int(mine["requests"].sum())
        for j, (outcome, witness) in enumerate(heads):
            count = int(
                mine.loc[(mine["outcome"] == outcome) & (mine["witness"] == witness), "requests"].sum()
            )
            base = colours.get(tier, style.UNKNOWN) if outcome == Outcome.OK else style.CUT
            alpha = 0.0 if not count else 0.18 + 0.55 * count / n
            axes.fill_between([j + 0.03, j + 0.97], i - 0.46, i + 0.46, color=to_rgba(base, alpha), lw=0)
            axes.text(j + 0.5, i, f"{count:,}" if count else "·", ha="center", va="center", fontsize=10,
                      fontweight="bold" if count else "normal", color=style.INK if count else "#BBBBBB")  # fmt: skip
        axes.text(len(heads) + 0.5, i, f"{n:,}", ha="center", va="center", fontsize=10, color=style.INK)
    axes.set_xlim(0, len(heads) + 1)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    labels: list[Any] = [_GOOD.get(w, w) if o == Outcome.OK else o for o, w in heads]
    axes.set_xticks(np.arange(len(heads) + 1) + 0.5, [*labels, "requests"])
    axes.set_yticks(range(len(lines)), [_line(via, tier) for via, tier in lines])
    axes.tick_params(axis="both", length=0)
    axes.xaxis.tick_top()
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)


def _line(via: str, tier: str) -> str:
    if via == GATEWAY:
        return tier or "unknown tier"
    return f"{via}, direct" if tier == via else f"{via}, direct, by {tier}"

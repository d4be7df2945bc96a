"""Every answer of the run at its latency, in the colour of its tier; faults above, the serving tiers below."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.columnar import thinning
from analysis.evidence import Evidence
from analysis.figures import shading, style
from analysis.figures.once import once
from analysis.metrics import outages, shares
from analysis.metrics.cuts import CUTS
from analysis.metrics.windows import Trial
from contract.records import GATEWAY, Outcome

NOTHING = "no request was sent through the gateway"
FEW = 20_000  # up to so many answers, all are drawn
GRID = (400, 170)  # cells of half a dot's width
MOST_FAILURES = 20_000  # more than these are thinned too
SERVED_COLUMNS = 240  # of the strip of the serving tiers

_COLUMNS = ["at_s", "latency_ms", "mark", "tier", "outcome", "lane", "request_id"]


@once
def data(run: Evidence) -> pd.DataFrame:
    """A row for each mark: `at_s` (sent, since the run's start), `latency_ms`, `mark` (answer | cut | failed), `tier`,
    `outcome`, `lane`, `request_id`.

    Every cut and every failure (above 20,000 failures, one per pixel), and the good answers that do not overlap in the picture.
    Abandoned requests have no mark.
    """
    requests = run.frames.gateway(["sent_at", "latency_ms", "tier", "outcome", "good", "file"])
    outcome = requests["outcome"]
    good, cut = requests["good"].to_numpy(bool), outcome.isin(CUTS).to_numpy(bool)
    shown = (outcome != Outcome.ABANDONED).to_numpy(bool)
    latency_ms = requests["latency_ms"].to_numpy(float)
    failed = shown & ~good
    group = 2 * style.places(requests["tier"], run.frames.tiers) + (requests["file"] == "probe").to_numpy(int)
    group[failed] = -2 - cut[failed].astype(int)
    drawn = thinning.kept(
        requests["sent_at"].to_numpy(float), np.log10(np.maximum(np.nan_to_num(latency_ms), 0.1)), group, *GRID,
        always=(failed & (failed.sum() <= MOST_FAILURES)) | (good & (good.sum() <= FEW)),
    )  # fmt: skip
    drawn = drawn[shown[drawn]]
    rows = run.frames.requests[["sent_at", "latency_ms", "tier", "outcome", "lane", "request_id"]]
    rows = rows.iloc[np.flatnonzero(run.frames.through_gateway)[drawn]]
    rows = rows.assign(
        at_s=rows["sent_at"] - run.frames.started_at,
        mark=np.where(good[drawn], "answer", np.where(cut[drawn], "cut", "failed")),
    )
    return rows[_COLUMNS].reset_index(drop=True)


def title(run: Evidence, of_users: bool = False) -> str:
    """`ollama took over after 0.41 s; 3 answers were cut; 0 requests failed`: of all requests through the gateway (as drawn), or
    of the users' requests only, without the probe's."""
    if data(run).empty:
        return f"Nothing to show: {NOTHING}"
    cut, failed = _counts(run, of_users)
    took: dict[str, list[float]] = {}
    for t in run.trials:
        found = _took_over(run, t)
        if found is not None:
            took.setdefault(found[0], []).append(found[1])
    parts = [
        f"{did} after {style.seconds_text(max(all_s))}"
        + (f" (max of {len(all_s)})" if len(all_s) > 1 else "")
        for did, all_s in took.items()
    ]
    if not parts:
        parts.append("no tier in use was seen lost" if run.trials else "no fault")
    parts.append(f"{cut:,} answer{'s were' if cut != 1 else ' was'} cut")
    parts.append(f"{failed:,} request{'s' if failed != 1 else ''} failed")
    return "; ".join(parts)


def _took_over(run: Evidence, trial: Trial) -> tuple[str, float] | None:
    """Which tier answered first after the loss, and how many seconds after it; None if the lost tier was not in use."""
    lost_at = run.lost_at(trial)
    if lost_at is None or not outages.was_in_use(run.around(trial), trial, run.frames.ranks):
        return None
    first = outages.first_answer(run.fit(trial), run.frames.covered, trial, lost_at)
    if first is None:
        return None
    tier = str(first["tier"])
    if trial.target == GATEWAY:
        return f"the gateway was gone, and {tier} answered", float(first["first_at"]) - lost_at
    did = f"no tier took over before {tier} returned," if tier == trial.target else f"{tier} took over"
    return did, float(first["first_at"]) - lost_at


def _counts(run: Evidence, of_users: bool = False) -> tuple[int, int]:
    """(cut or stalled, failed) of the requests through the gateway, or of the users' alone."""
    requests = run.frames.gateway(["outcome", "good", "lane", "via"])
    if of_users:
        requests = requests[shares.of_users(requests)]
    cut = requests["outcome"].isin(CUTS)
    failed = ~requests["good"] & ~cut & (requests["outcome"] != Outcome.ABANDONED)
    return int(cut.sum()), int(failed.sum())


def draw(run: Evidence) -> Figure:
    """How to read it: which tier answered when and how fast, what failed, and whether it fits the faults.

    Dots are good answers through the gateway (small: the probe's), × cut or stalled streams at the length they reached,
    | requests that failed. The strip below shows each tier's share of the good answers.
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "timeline", NOTHING)
    high = style.length_s(run)
    with rc_context(style.LOOK):
        made = style.figure(height=5.1 + 0.26 * shading.rows(run))
        faults, plot, served = made.subplots(
            3, 1, sharex=True, height_ratios=[0.26 * shading.rows(run), 3.4, 0.3]
        )
        plot.set_xlim(0.0, high)
        shading.strips(faults, run)
        shading.shade(plot, run)
        _marks(plot, run, rows)
        _served(served, run, high)
        style.time_axis(served, high, "strip: pale without requests, white without good answers")
        plot.set_ylabel("latency of the answer")
    n, good = int(run.frames.through_gateway.sum()), int((rows["mark"] == "answer").sum())
    all_good = int(run.frames.gateway(["good"])["good"].sum())
    thinned = f", {good:,} of {all_good:,} good ones drawn (overlaps thinned)"
    style.title(
        made, title(run), run, f"n = {n:,} requests through the gateway{thinned if good < all_good else ''}"
    )
    return made


def _marks(axes: Axes, run: Evidence, rows: pd.DataFrame) -> None:
    colours = style.tier_colours(run.frames.tiers)
    good, cut, failed = (rows[rows["mark"] == m] for m in ("answer", "cut", "failed"))
    probe = good["lane"].astype(str).str.startswith("probe").to_numpy(bool)
    paint = np.array([*colours.values(), style.UNKNOWN])[style.places(good["tier"], run.frames.tiers)]
    for part, size, alpha in ((probe, 3.0, 0.55), (~probe, 9.0, 0.85)):
        axes.scatter(good["at_s"][part], good["latency_ms"][part], s=size, c=paint[part], alpha=alpha, lw=0)
    style.log_ms(axes, "y")
    floor = max(0.5, float(good["latency_ms"].min()) / 3) if len(good) else 1.0
    axes.scatter(cut["at_s"], cut["latency_ms"], s=34, c=style.CUT, marker="x", lw=1.5, zorder=4)
    axes.scatter(
        failed["at_s"], failed["latency_ms"].fillna(floor).clip(lower=floor), s=26, c=style.FAILED,
        marker="|", lw=0.9, zorder=3,
    )  # fmt: skip
    n_cut, n_failed = _counts(run)
    marks = style.dots({t: c for t, c in colours.items() if (good["tier"] == t).any()})
    if probe.any():
        marks.append(_mark("o", style.UNKNOWN, "small: probe", 2.2))
    if n_cut:
        marks.append(_mark("x", style.CUT, f"cut or stalled ({n_cut:,})", 6))
    if n_failed:
        marks.append(_mark("|", style.FAILED, f"failed ({n_failed:,})", 7))
    style.legend(axes, marks)


def _mark(marker: str, colour: str, label: str, size: float) -> Line2D:
    return Line2D([], [], marker=marker, linestyle="", color=colour, label=label, markersize=size, mew=1.4)


def _served(axes: Axes, run: Evidence, high: float) -> None:
    """The share of each tier in the good answers, per time column.

    Pale: no requests; the colour is that of the tier that served last. White: requests, but no good answer.
    """
    requests = run.frames.gateway(["sent_at", "good", "tier"])
    edges = np.linspace(0, high, min(SERVED_COLUMNS, max(10, int(high))) + 1)
    at = requests["sent_at"].to_numpy(float) - run.frames.started_at
    good, place = requests["good"].to_numpy(bool), style.places(requests["tier"], run.frames.tiers)
    requests_sent = np.histogram(at, edges)[0]
    counts = np.array([np.histogram(at[good & (place == i)], edges)[0] for i in range(len(run.frames.tiers))])
    colours = list(style.tier_colours(run.frames.tiers).values())
    _carry(axes, counts, requests_sent, edges, colours)
    share = counts / np.maximum(1, counts.sum(axis=0))
    bottom = np.zeros(len(edges) - 1)
    for colour, part in zip(colours, share, strict=True):
        axes.stairs(bottom + part, edges, baseline=bottom, fill=True, color=colour)
        bottom = bottom + part
    axes.set_ylim(0, 1)
    axes.set_yticks([0.5], ["served by"])
    axes.tick_params(axis="y", length=0)
    axes.grid(False)


def _carry(
    axes: Axes, counts: np.ndarray, requests_sent: np.ndarray, edges: np.ndarray, colours: list[str]
) -> None:
    """In columns without requests, the tier that served last, pale."""
    last = None
    pale = np.zeros(counts.shape)
    for i in range(len(requests_sent)):
        here = np.flatnonzero(counts[:, i])
        if not requests_sent[i] and last is not None:
            pale[last, i] = 1
        last = here[-1] if len(here) else last
    for colour, part in zip(colours, pale, strict=True):
        if part.any():
            axes.stairs(part, edges, fill=True, color=colour, alpha=0.3)

"""The time to the first token and the time between two chunks, per tier; whether chunks came in clumps."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis.evidence import Evidence
from analysis.figures import stairs, style
from analysis.figures.once import once
from analysis.metrics import chunks, latency, quantiles

NOTHING = "no streamed answer came through the gateway"
_TTFT, _GAP = "ttft_ms", "chunk_gap_ms"
_MANY = 2_000_000  # gaps; with more, the steps are accurate to a hundredth, the quantiles are exact
_NEEDED = ["tier", "good", "stream", "touched", "ttft_ms", "thought_ms", "gaps_ms", "output_tokens"]


@once
def data(run: Evidence) -> pd.DataFrame:
    """`tier`, `measure` (ttft_ms, chunk_gap_ms: the inter-token latency, measured between chunks), and as in `stairs.table`.

    `clumped`: the tier's chunks came in clumps, so its gaps describe clumps, not tokens; empty: too few gaps to decide. A row
    with the measure `tpot_ms` and the mark `p50` is the median time per token, which clumps do not distort.
    """
    requests, _ = stairs.whose(run, _NEEDED)
    requests = requests[requests["stream"]]
    place = style.places(requests["tier"], run.frames.tiers)
    found: list[tuple[str, str, np.ndarray | chunks.ChunkGaps]] = []
    tpot, clumped = [], {}
    for i, tier in enumerate(run.frames.tiers):
        rows = requests[place == i]
        gaps = chunks.chunk_gaps(rows)
        found.append((tier, _TTFT, latency.ttft_ms(rows).dropna().to_numpy(float)))
        found.append((tier, _GAP, gaps if gaps.n > _MANY else chunks.chunk_gaps_ms(rows)))
        clumped[tier] = gaps.clumped
        each_ms = latency.tpot_ms(rows).dropna()
        p50 = quantiles.quantiles(each_ms)["p50"]
        if p50 is not None:
            tpot.append(
                {
                    "tier": tier,
                    "measure": "tpot_ms",
                    "mark": "p50",
                    "ms": p50,
                    "share": 0.5,
                    "n": len(each_ms),
                }
            )
    table = stairs.table(found)
    if tpot:
        table = pd.concat([table, pd.DataFrame(tpot)], ignore_index=True)
    return table.assign(clumped=table["tier"].map(clumped).astype(object))


def _clumps(run: Evidence) -> list[str]:
    rows = data(run)
    return [t for t in run.frames.tiers if rows.loc[rows["tier"] == t, "clumped"].eq(True).any()]


def _nothing(run: Evidence) -> str:
    """Why there is nothing to draw: no streamed answer, or none that shows a token."""
    requests, _ = stairs.whose(run, ["good", "stream"])
    streamed = int((requests["good"] & requests["stream"]).sum())
    return f"none of {streamed:,} good streamed answers shows a token" if streamed else NOTHING


def title(run: Evidence) -> str:
    """`First token at the median: vllm 82 ms, then 20 ms a chunk; ollama 251 ms, then 60 ms a chunk`."""
    rows = data(run)
    if rows.empty:
        return f"Nothing to show: {_nothing(run)}"
    parts = []
    for tier in run.frames.tiers:
        first, gap = (stairs.quantile(rows, tier, m, "p50") for m in (_TTFT, _GAP))
        if first is not None or gap is not None:
            then = "" if gap is None else f", then {style.ms_short(gap)} a chunk"
            parts.append(f"{tier} {'unknown' if first is None else style.ms_short(first)}{then}")
    clumps = _clumps(run)
    clumped = f"; chunks of {', '.join(clumps)} came in clumps" if clumps else ""
    return f"First token at the median: {'; '.join(parts)}{clumped}"


def draw(run: Evidence) -> Figure:
    """How to read it: left, the share of a tier's streamed answers with a first token within a given time; right, the time
    between two chunks with content.

    If several chunks arrive at once, the gaps describe these clumps, not tokens. The legend then marks the tier and adds the
    median time per token (TPOT).
    """
    rows = data(run)
    if rows.empty:
        return style.empty(run, "TTFT and inter-token latency", _nothing(run))
    clumps = _clumps(run)
    notes = {}
    for tier in run.frames.tiers:
        p50 = stairs.quantile(rows, tier, "tpot_ms", "p50")
        if tier in clumps and p50 is not None:
            notes[tier] = f"; IN CLUMPS, TPOT {style.ms_short(p50)}"
    with rc_context(style.LOOK):
        made = style.figure(height=5.0)
        left, right = made.subplots(1, 2, sharey=True)
        stairs.panel(left, run, rows, _TTFT, {})
        stairs.panel(right, run, rows, _GAP, notes)
        left.set_ylabel("share within this time")
        left.set_xlabel("TTFT of streamed answers: sent → first token")
        right.set_xlabel("inter-token latency: between chunks with content")
    n = int(rows[rows["measure"] == _TTFT].groupby("tier")["n"].first().sum())
    words = stairs.whose(run, [])[1].replace("good answers", "good streamed answers with content")
    style.title(made, title(run), run, f"n = {n:,} {words} through the gateway")
    return made

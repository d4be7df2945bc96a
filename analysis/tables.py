"""The tables of a report: one row per tier, way and kind of answer; one row per trial; what an operator pastes."""

import pandas as pd

from analysis import metrics, outages
from analysis.evidence import Evidence
from analysis.verdict import Verdict
from analysis.windows import baseline_of, phases_of
from contract.records import Outcome, Witness

TOKENS = 10  # the length of answer that the tier table speaks of


def summary(run: Evidence) -> pd.DataFrame:
    """summary.csv: one row per tier × via × stream; a tier of "" are asks that nobody answered."""
    rows = []
    keyed = run.frames.asks.assign(tier=run.frames.asks["tier"].fillna(""))
    for (tier, via, stream), asks in keyed.groupby(["tier", "via", "stream"], sort=True):
        row: dict[str, object] = {"tier": tier, "via": via, "stream": stream, "n": len(asks)}
        row |= {str(o): int((asks["outcome"] == o).sum()) for o in Outcome}
        for name, values in (
            ("latency_ms", metrics.latency_ms(asks)),
            ("latency_from_intended_ms", metrics.latency_ms(asks, of="intended")),
            ("ttft_ms", metrics.ttft_ms(asks)),
            ("tpot_ms", metrics.tpot_ms(asks)),
        ):
            row |= {f"{q}_{name}": v for q, v in metrics.quantiles(values).items()}
        row["tokens_per_s"] = metrics.tokens_per_s(asks)
        row |= {f"witness_{w}": int((asks["good"] & (asks["witness"] == w)).sum()) for w in Witness}
        row["witness_unknown"] = int((asks["good"] & asks["witness"].isna()).sum())
        rows.append(row)
    return pd.DataFrame(rows)


FAILOVER_COLUMNS = [
    "step", "trial", "fault", "target", "commanded_at", "lost_at", "lost_after_s", "lost_evidence",
    "first_answer_by", "failover_s", "gap_new_lower_s", "gap_new_upper_s", "gap_kept_lower_s", "gap_kept_upper_s",
    "unavailable_s", "effective_s", "mend_s", "mended_by", "recovery_s", "recovery_censored", "cuts",
]  # fmt: skip


def failovers(run: Evidence) -> pd.DataFrame:
    """failover.csv: one row per trial of a step.

    `failover_s` is to the tier that answered first after the loss (`first_answer_by`); the verdict's is to the tier that
    the expectation names. Lengths in seconds; an empty cell is "not seen".
    """
    rows = []
    for t in run.trials:
        lost_at = run.lost_at(t)
        seen = run.lost.get((t.step, t.trial))
        row: dict[str, object] = {
            "step": t.step, "trial": t.trial, "fault": t.fault, "target": t.target, "commanded_at": t.commanded_at,
            "lost_at": lost_at, "lost_evidence": seen.evidence if seen else None, "mended_by": t.mended_by,
            "lost_after_s": _less(lost_at, t.commanded_at), "effective_s": _less(t.effective_at, t.commanded_at),
            "mend_s": _less(t.mended_at, t.mend_commanded_at),
        }  # fmt: skip
        asks = run.around(t)
        if lost_at is not None:
            first = outages.first_answer(asks, run.frames.covered, t, lost_at)
            if first is not None:
                row |= {"first_answer_by": first["tier"], "failover_s": float(first["first_at"]) - lost_at}
            for lane, word in zip(outages.PROBES, ("new", "kept"), strict=True):
                gap = outages.failover_gap(asks, t, lost_at, lane)
                if gap is not None:
                    row |= {f"gap_{word}_lower_s": gap.lower_s, f"gap_{word}_upper_s": gap.upper_s}
        if t.gone_from is not None:
            row["unavailable_s"] = outages.unavailability(asks, t.gone_from, t.ends_at)
            row["cuts"] = len(metrics.cuts(asks, t, run.trials))
        back = outages.recovery(asks, t, run.trials, run.frames.tiers)
        if back is not None:
            row |= {"recovery_s": back.s, "recovery_censored": back.censored}
        rows.append(row)
    return pd.DataFrame(rows, columns=FAILOVER_COLUMNS)


def _less(later: float | None, earlier: float | None) -> float | None:
    return None if later is None or earlier is None else later - earlier


def markdown(run: Evidence, verdict: Verdict) -> str:
    """summary.md: the two tables that an operator pastes into his documents, and how far they can be trusted."""
    frames = run.frames
    lines = [f"# {verdict.run}: {verdict.status}", ""]
    if frames.cut_short:
        lines += [
            f"**The run was cut short: {frames.cut_short}.** What follows rests on what was recorded until then.",
            "",
        ]
    if frames.torn:
        lines += [f"Torn tails were skipped: {', '.join(frames.torn)}.", ""]
    lines += [
        f"| tier | engine | model | latency for {TOKENS} tokens (p50 / p95 / p99) | throughput | status |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_tier_row(run, tier) for tier in frames.tiers),
        "",
        "| requirement | target | measured | status |",
        "| --- | --- | --- | --- |",
        *(
            f"| {_cell(f'{f.id} {f.name}' if f.id else f.name)} | {_cell(f.target)} | {_cell(f.measured)} | {f.status} |"
            for f in verdict.findings
        ),
        "",
        *(f"- {f.status}: {f.name}: {f.evidence}" for f in verdict.findings if f.status != "pass"),
        "",
        _witnesses(run),
        _cut_rates(run),
        _goodput(run),
        _client(run),
    ]
    return "\n".join(line for line in lines if line is not None) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _tier_row(run: Evidence, name: str) -> str:
    tier = run.frames.tier(name)
    asks = run.frames.asks[run.frames.asks["tier"] == name]
    values, estimated = metrics.latency_for_tokens_ms(asks, TOKENS)
    q = metrics.quantiles(values)
    n = int(values.notna().sum())
    if q["p50"] is None:
        latency = "unknown"
    else:
        latency = (
            " / ".join(_ms(q[k]) for k in metrics.QUANTILES) + f" (n={n}{', estimated' if estimated else ''})"
        )
    rate = metrics.tokens_per_s(asks)
    throughput = "unknown" if rate is None else f"{rate:.1f} tokens/s"
    cells = (name, tier.engine or "", tier.model or "", latency, throughput, _tier_status(run, name))
    return f"| {' | '.join(_cell(c) for c in cells)} |"


def _ms(ms: float | None) -> str:
    assert ms is not None
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.0f} ms"


def _tier_status(run: Evidence, name: str) -> str:
    asks = run.frames.asks
    through = int((asks["good"] & (asks["tier"] == name) & (asks["via"] == "gateway")).sum())
    direct = int((asks["good"] & (asks["tier"] == name) & (asks["via"] == name)).sum())
    left = [t for t in run.trials if t.target == name and t.begun_at is not None and t.mended_at is None]
    said = f"{through} good answers through the gateway" + (f", {direct} direct" if direct else "")
    if not through and not direct:
        said = "never answered"
    return f"**not restored**; {said}" if left else said


def _witnesses(run: Evidence) -> str:
    good = run.frames.asks[run.frames.asks["good"]]
    counts = {str(w): int((good["witness"] == w).sum()) for w in Witness}
    missing = int(good["witness"].isna().sum())
    told = ", ".join(f"{w} {n}" for w, n in counts.items()) + (f", not told {missing}" if missing else "")
    return f"{len(good)} good answers, verified by witness: {told}."


def _cut_rates(run: Evidence) -> str:
    """Before and during faults, side by side: nothing is subtracted."""
    frames = run.frames
    base = baseline_of(run.trials, frames.started_at, frames.ended_at)
    before = metrics.cut_rate(frames.gateway_asks, base.start, base.end)
    spans = [(p.start, p.end) for t in run.trials for p in phases_of(t) if p.name != "settling"]
    during = [metrics.cut_rate(frames.gateway_asks, s, e) for s, e in _union(spans)]
    cut, asked = sum(c for c, _ in during), sum(n for _, n in during)
    return f"Cut answers: {_rate(*before)} before the first fault, {_rate(cut, asked)} during faults."


def _goodput(run: Evidence) -> str:
    objective_ms = run.frames.timeline.objectives.ttft_ms if run.frames.timeline else None
    share = metrics.goodput(run.frames.asks, objective_ms)
    within = "no objective for TTFT" if objective_ms is None else f"TTFT within {objective_ms:g} ms"
    return (
        f"Goodput ({within}; failures and cuts are misses): {'unknown' if share is None else f'{share:.2%}'}."
    )


def _rate(cut: int, asked: int) -> str:
    return f"{cut} of {asked} ({cut / asked:.2%})" if asked else "none asked"


def _union(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    out: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def _client(run: Evidence) -> str:
    seconds = len(run.frames.client)
    if not seconds:
        return "The load generator told nothing about itself (no client.arrow)."
    return f"The load generator was overloaded in {len(run.overloaded)} of {seconds} seconds."

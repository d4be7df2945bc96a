"""summary.md, the first page of a report: what load there was, what came of it, what an operator pastes into his documents."""

import pandas as pd

from analysis import attribution, availability, metrics, reconciliation
from analysis.delivery import delivery, hidden
from analysis.evidence import Evidence
from analysis.verdict import Verdict
from analysis.windows import baseline_of, phases_of
from contract.records import GATEWAY, Witness

TOKENS = 10  # the length of answer that the tier table speaks of


def markdown(run: Evidence, verdict: Verdict) -> str:
    """summary.md: what load was delivered, the tables that an operator pastes, and how far all that can be trusted."""
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
        *load(run),
        "",
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
        *_latencies(run),
        "",
        *_why(run),
        "",
        _witnesses(run),
        _cut_rates(run),
        _goodput(run),
        *_clumps(run),
        *_service(run),
        "",
        *reconciliation.section(run),
    ]
    return "\n".join(lines) + "\n"


def load(run: Evidence) -> list[str]:
    """What load was wanted and what was delivered; stands at the top of the page and below the verdict on the terminal."""
    frames = run.frames
    d = delivery(frames.asks, frames.client, run.overloaded)
    late = "late by an unknown time" if d.late_p99_ms is None else f"p99 {_ms(d.late_p99_ms)} late"
    users = "users unknown" if d.users_max is None else f"{d.users_max} users"
    told = f"{d.overloaded} of {d.seconds}" if d.seconds else "an unknown number (no client.arrow)"
    lines = [
        f"Load: {d.wanted} asks wanted, {d.sent} sent ({late}), {d.capped} capped; at most {d.in_flight_max} in flight, "
        f"{users}; the client was overloaded in {told} seconds."
    ]
    both = hidden(frames.asks)
    if both is None:
        return lines
    sent, intended, hides = both
    said = f"Latency, p99 of users' good answers: {_ms(sent)} from sent, {_ms(intended)} from intended"
    if hides:
        said += ": asks waited to be sent, and what is counted from sent hides it."
    elif not frames.open_loop:
        said += ": users waited for each answer before they asked again (a closed loop), so that a hang hides in both."
    else:
        said += "."
    return [*lines, said]


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
    through = int((asks["good"] & (asks["tier"] == name) & (asks["via"] == GATEWAY)).sum())
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
    objective_ms = run.ttft_max_ms
    share = metrics.goodput(run.frames.asks, objective_ms).ratio
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


def _latencies(run: Evidence) -> list[str]:
    """Both latencies side by side, and what streaming made of them, of the users' good answers."""
    users = metrics.users_asks(run.frames.asks)
    lines = [
        "| users' answers by | n | from sent (p50 / p99) | from intended (p50 / p99) | TTFT (p50 / p99) | chunk gap (p50 / p99) "
        "| TPOT (p50) | tokens/s | answers/s | within objectives |",
        "| --- " * 10 + "|",
    ]
    for tier in run.frames.tiers:
        asks = users[users["tier"] == tier]
        gaps = pd.Series(metrics.chunk_gaps_ms(asks))
        lengths = (
            metrics.latency_ms(asks),
            metrics.latency_ms(asks, of="intended"),
            metrics.ttft_ms(asks),
            gaps,
        )
        good = int(asks["good"].sum())
        cells = [tier, str(good), *(_two(values) for values in lengths)]
        cells.append(_maybe(metrics.quantiles(metrics.tpot_ms(asks))["p50"], "{:.0f} ms"))
        cells.append(_maybe(metrics.tokens_per_s(asks), "{:.1f}"))
        cells.append(_maybe(metrics.answers_per_s(asks), "{:.2f}"))
        cells.append(f"{int(metrics.within(asks, run.ttft_max_ms).sum())} of {good}")
        lines.append(f"| {' | '.join(_cell(c) for c in cells)} |")
    return lines


def _two(values: pd.Series) -> str:
    q = metrics.quantiles(values)
    return "–" if q["p50"] is None else f"{_ms(q['p50'])} / {_ms(q['p99'])}"


def _maybe(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _why(run: Evidence) -> list[str]:
    """Why lower tiers answered: every answer has one class; the cloud's that were spurious are leaks."""
    table = attribution.by_class(run.lower, run.frames.tiers)
    lines = [
        "| answers by a lower tier | needed | sticky | spurious | unknown |",
        "| --- | --- | --- | --- | --- |",
    ]
    for tier, counts in table.iterrows():
        name = f"{tier} (cloud: spurious ones are leaks)" if tier in run.clouds else str(tier)
        lines.append(f"| {_cell(name)} | {' | '.join(str(counts[w]) for w in attribution.SHOWN)} |")
    return lines


def _clumps(run: Evidence) -> list[str]:
    """A line for each tier whose chunks came in clumps: then the quantiles of chunk gaps tell of these, not of tokens."""
    asks = run.frames.asks
    found = {tier: metrics.who_clumps(asks[asks["tier"] == tier]) for tier in run.frames.tiers}
    return [f"Chunks of {tier} came in clumps: {who}." for tier, who in found.items() if who]


def _service(run: Evidence) -> list[str]:
    """Unavailability and brown-outs over the run, by the probe."""
    if run.down is None:
        return ["Unavailable: unknown, the probe asked nothing."]
    start, end = run.probed
    worst = ", ".join(
        f"{availability.worst_window(run.down, w)[0]:.2f} s of any {w:g} s" for w in availability.WINDOWS_S
    )
    silent = (
        f" For {run.unasked.s:.1f} s it did not ask: what happened then is not known."
        if run.unasked.s
        else ""
    )
    lines = [
        f"Unavailable, by the probe: {run.down.s:.2f} s of {end - start:.0f} s, in {len(run.down)} intervals; "
        f"at worst {worst}.{silent}"
    ]
    if run.brown is None:
        return [*lines, "Brown-outs: unknown, the timeline has no objectives."]
    answers = availability.brown_answers(run.frames.asks, run.ttft_max_ms)
    return [
        *lines,
        f"Brown-outs (good, but no TTFT within {run.ttft_max_ms:g} ms), by the probe: {run.brown.s:.2f} s in "
        f"{len(run.brown)} intervals; {answers} of the users' answers.",
    ]

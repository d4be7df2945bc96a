"""summary.md, the first page of a report: the load, the results, and tables for use in documents."""

from collections.abc import Callable
from functools import partial

from analysis import part_errors
from analysis.evidence import Evidence
from analysis.judging import balance, reconciliation
from analysis.judging.finding import Status
from analysis.judging.verdict import Verdict, gateway, reasons
from analysis.metrics import attribution, availability, cuts, documents, health, quantiles, shares
from analysis.metrics.by_tier import TOKENS, OfTier
from analysis.metrics.documents import OfTier as OfDocuments
from analysis.reporting import restores, tables
from analysis.reporting.formatting import UNKNOWN, known, maybe, ms, sent, share, two
from contract import printable
from contract.document import FIELDS
from contract.records import Witness


def markdown(run: Evidence, verdict: Verdict) -> str:
    """summary.md: the delivered load, tables for use in documents, and how far the numbers can be trusted."""
    frames = run.frames
    lines = [
        f"# {verdict.run}: {verdict.status}",
        "",
        *(f"- **{why}**" if status is Status.FAIL else f"- {why}" for status, why in reasons(verdict)),
    ]
    lines += [f"- {gateway(verdict)}", ""]
    if len(frames.gateway_versions) > 1:
        lines += [f"**{several_versions(run)}**", ""]
    if frames.cut_short:
        lines += [
            f"**The run was cut short: {frames.cut_short}.** This report uses what was recorded until then.",
            "",
        ]
    if frames.torn:
        lines += [f"Torn tails were skipped: {', '.join(frames.torn)}.", ""]
    parts: tuple[tuple[str, Callable[[], list[str]]], ...] = (
        ("load", lambda: [*load(run), *(f"Health: {words}." for words in health.doubts(run.health))]),
        ("table of the tiers", lambda: _tiers(run)),
        ("table of the requirements", lambda: _requirements(verdict)),
        ("latencies", lambda: _latencies(run)),
        ("parts of the run", lambda: [*_parts(run), *restores.section(run)]),
        ("reasons of lower tiers' answers", lambda: [*_why(run), *balance.section(run)]),
        ("documents and quality", lambda: [*_documents(run), *quality(run)]),
        ("reconciliation", lambda: reconciliation.section(run)),
    )
    for part, make in parts:
        lines += [*run.thrown.guarded(f"summary.md: {part}", make, partial(_not_made, part)), ""]
    if run.thrown.found:
        kept = f"Tracebacks of what could not be made: [{part_errors.NAME}]({part_errors.NAME})."
        lines[2:2] = [f"**{kept}** {_cell('; '.join(run.thrown.parts()))}", ""]
    return "\n".join(map(printable.line, lines)).rstrip("\n") + "\n"


def _not_made(part: str, error: str) -> list[str]:
    return [f"The part {part!r} could not be made: {_cell(error)}; {part_errors.NAME} has its traceback."]


def _tiers(run: Evidence) -> list[str]:
    return [
        f"| tier | engine | model | latency for {TOKENS} tokens (p50 / p95 / p99) | throughput | status |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_tier_row(tier) for tier in run.by_tier),
    ]


def _requirements(verdict: Verdict) -> list[str]:
    return [
        "| requirement | target | measured | status |",
        "| --- | --- | --- | --- |",
        *(
            f"| {_cell(f'{f.id} {f.name}' if f.id else f.name)} | {_cell(f.target)} | {_cell(f.measured)} | {f.status} |"
            for f in verdict.findings
        ),
        "",
        *(f"- {f.status}: {f.name}: {f.evidence}" for f in verdict.findings if f.status != "pass"),
    ]


def several_versions(run: Evidence) -> str:
    """The warning for a gateway that was upgraded under load, or has replicas of several versions."""
    return f"The gateway answered as several versions: {run.frames.gateway_version}. Every number covers all of them."


def load(run: Evidence) -> list[str]:
    """The scheduled and the delivered load; at the top of the page, and below the verdict on the terminal."""
    d = run.delivered
    late = "late by an unknown time" if d.late_p99_ms is None else f"p99 {ms(d.late_p99_ms)} late"
    users = "users unknown" if d.users_max is None else f"{d.users_max} users"
    overloaded = f"{d.overloaded} of {d.seconds}" if d.seconds else "an unknown number (no client.arrow)"
    lines = [
        f"Load: {d.scheduled} requests scheduled, {d.sent} sent ({late}), {d.dropped} dropped; at most {d.in_flight_max} in "
        f"flight, {users}; the client was overloaded in {overloaded} seconds."
    ]
    if run.hidden is None:
        return lines
    sent, scheduled, hides = run.hidden
    text = f"Latency, p99 of users' good answers: {ms(sent)} from sent, {ms(scheduled)} from scheduled"
    if hides:
        text += ": requests waited to be sent, and the latency from sent hides it."
    elif not run.frames.open_loop:
        text += ": users waited for each answer before the next request (a closed loop), so both hide a hang."
    else:
        text += "."
    return [*lines, text]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _tier_row(of: OfTier) -> str:
    throughput = "unknown" if of.tokens_per_s is None else f"{of.tokens_per_s:.1f} tokens/s"
    cells = (of.tier.name, of.tier.engine or "", of.tier.model or "", latency(of), throughput, status(of))
    return f"| {' | '.join(_cell(c) for c in cells)} |"


def latency(of: OfTier) -> str:
    """`268 ms / 301 ms / 340 ms (n=412)`: of an answer of TOKENS tokens."""
    texts = [ms(value) for q in quantiles.QUANTILES if (value := of.latency[q]) is not None]
    return (
        f"{' / '.join(texts)} (n={of.latency_n}{', estimated' if of.latency_estimated else ''})"
        if texts
        else "unknown"
    )


def status(of: OfTier) -> str:
    """What the tier did in the run; bold if it was not restored or that is unknown."""
    text = f"{of.through} good answers through the gateway" + (f", {of.direct} direct" if of.direct else "")
    if not of.through and not of.direct:
        text = "never answered"
    return f"**{of.left}**; {text}" if of.left else text


def quality(run: Evidence) -> list[str]:
    """A sentence each: how answers were verified, how many were cut, how many met the objectives, how the gateway served."""
    clumps = [f"Chunks of {of.tier.name} came in clumps: {of.clumps}." for of in run.by_tier if of.clumps]
    return [
        _witnesses(run),
        *_unseen(run),
        _cut_rates(run),
        goodput(run),
        *clumps,
        *_service(run),
        *scans(run),
    ]


def _witnesses(run: Evidence) -> str:
    good = run.frames.requests[["witness"]][run.frames.requests["good"]]
    counts = {str(w): int((good["witness"] == w).sum()) for w in Witness}
    missing = int(good["witness"].isna().sum())
    text = ", ".join(f"{w} {n}" for w, n in counts.items()) + (f", unknown {missing}" if missing else "")
    return f"{len(good)} good answers, verified by witness: {text}."


def _unseen(run: Evidence) -> list[str]:
    """Sentences about good answers without content: with thoughts only, and without any token; none if there are none."""
    requests = run.frames.requests
    unseen = requests["good"].to_numpy(bool) & requests["ttft_ms"].isna().to_numpy()
    thoughtful = requests["thought_ms"].notna().to_numpy()
    thoughts, nothing = int((unseen & thoughtful).sum()), int((unseen & ~thoughtful).sum())
    lines = []
    if nothing:
        lines.append(
            f"{nothing} good answers show no token: a reasoning model spent their cap on thoughts. They have no TTFT, no chunk "
            "gap and no TPOT; for failover, gap, recovery and goodput their end counts as the first token."
        )
    if thoughts:
        lines.append(
            f"{thoughts} good answers show thoughts and no content. They have no TTFT; for failover, gap and recovery their "
            "first thought counts as the first token, for goodput their end."
        )
    return lines


def _cut_rates(run: Evidence) -> str:
    """The cut rate in each kind of part; nothing is subtracted."""
    rates = cuts.cut_rates(run.frames.requests, run.parts)
    texts = [f"{_rate(*rate)} {kind}" for kind, rate in rates.items()]
    return f"Cut answers: {', '.join(texts)}."


def goodput(run: Evidence) -> str:
    """`Goodput (TTFT within 2000 ms; failures and cuts are misses): 99.31%.`"""
    objective_ms = run.ttft_max_ms
    share = shares.goodput(run.frames.requests, objective_ms).ratio
    within = "no objective for TTFT" if objective_ms is None else f"TTFT within {objective_ms:g} ms"
    return (
        f"Goodput ({within}; failures and cuts are misses): {'unknown' if share is None else f'{share:.2%}'}."
    )


def _rate(cut: int, requests: int) -> str:
    return f"{cut} of {requests} ({cut / requests:.2%})" if requests else "no requests"


def _latencies(run: Evidence) -> list[str]:
    """Latency from sent and from scheduled, and the streaming latencies, of the users' good answers."""
    lines = [
        "| users' answers by | n | from sent (p50 / p99) | from scheduled (p50 / p99) | TTFT (p50 / p99) | chunk gap (p50 / p99) "
        "| TPOT (p50) | tokens/s | answers/s | within objectives |",
        "| --- " * 10 + "|",
    ]
    for of in run.by_tier:
        users = of.users
        lengths = (users.latency, users.latency_from_schedule, users.ttft, users.chunk_gap)
        cells = [of.tier.name, str(users.good), *map(two, lengths)]
        cells.append(maybe(users.tpot["p50"], "{:.0f} ms"))
        cells.append(maybe(users.tokens_per_s, "{:.1f}"))
        cells.append(maybe(users.answers_per_s, "{:.2f}"))
        cells.append(f"{users.within} of {users.good}")
        lines.append(f"| {' | '.join(_cell(c) for c in cells)} |")
    thoughts = [
        f"{of.tier.name} {two(of.users.thought)} (n {of.users.thoughtful})" for of in run.by_tier if of.users.thoughtful
    ]  # fmt: skip
    if thoughts:
        lines += [
            "",
            f"First thought (p50 / p99): {', '.join(thoughts)}. TTFT is the first content, after the thoughts.",
        ]
    return lines


def _parts(run: Evidence) -> list[str]:
    """What users got before, during, between and after faults; each request in one row (`parts.part_of`)."""
    lines = [
        "| users' requests | n | good | failed | cut | stalled | abandoned | continuity | goodput | sent | latency (p50 / p99) "
        "| TTFT (p50 / p99) |",
        "| --- " * 12 + "|",
    ]
    for row in tables.by_part(run).astype(object).to_dict("records"):
        failed = row["requests"] - sum(row[name] for name in ("good", "cut", "stalled", "abandoned"))
        cells = [
            row["part"],
            row["requests"],
            row["good"],
            failed,
            row["cut"],
            row["stalled"],
            row["abandoned"],
        ]
        cells += [
            maybe(known(row["continuity"]), "{:.4f}"),
            maybe(known(row["goodput"]), "{:.2%}"),
            sent(row["sent"], row["lost_to_fault"]),
        ]
        cells += [
            two({q: known(row[f"{q}_{name}"]) for q in ("p50", "p99")}) for name in ("latency_ms", "ttft_ms")
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _why(run: Evidence) -> list[str]:
    """Why lower tiers answered: every answer has one class; spurious answers of a cloud tier are leaks."""
    table = attribution.by_class(run.lower, run.frames.ranks)
    lines = [
        "| answers by a lower tier | needed | sticky | spurious | unknown |",
        "| --- | --- | --- | --- | --- |",
    ]
    for tier, counts in table.iterrows():
        name = f"{tier} (cloud: spurious ones are leaks)" if tier in run.clouds else str(tier)
        lines.append(f"| {_cell(name)} | {' | '.join(str(counts[w]) for w in attribution.SHOWN)} |")
    return lines


def _documents(run: Evidence) -> list[str]:
    """How each tier classified documents; empty if none was classified."""
    if not run.documents:
        return []
    lines = [
        f"| documents by | answered | usable JSON | {' | '.join(name.replace('_', ' ') for name in FIELDS)} | all right "
        "(95 % interval) | documents/min | latency (p50 / p95) | cut |",
        "| --- " * (len(FIELDS) + 7) + "|",
    ]
    for of in run.documents:
        cells = [of.tier, str(of.answered), share(of.valid, of.answered)]
        cells += [share(n, of.answered) for n in of.right_fields.values()]
        cells += [accuracy(of), maybe(of.per_minute, "{:.1f}"), two(of.latency, "p95"), str(of.cut)]
        lines.append(f"| {' | '.join(_cell(c) for c in cells)} |")
    return [*lines, ""]


def accuracy(of: OfDocuments) -> str:
    """`95.0 % [86.3, 98.3]`"""
    if of.interval is None:
        return UNKNOWN
    low, high = of.interval
    return f"{share(of.right, of.answered)} [{100 * low:.1f}, {100 * high:.1f}]"


def scans(run: Evidence) -> list[str]:
    """One sentence: what the client classified and what waits for its next scan; empty without documents."""
    if run.classified.empty:
        return []
    c = documents.client(run.classified)
    why = [
        f"answer not usable: {c.invalid}" if c.invalid else "",
        f"all calls failed: {c.in_vain}" if c.in_vain else "",
    ]
    waits = f"left for the client's next scan: {c.waiting}"
    waits += f" ({', '.join(filter(None, why))})" if c.waiting else ""
    unfinished = f"; not ended before the run: {c.unfinished}" if c.unfinished else ""
    return [
        f"Documents begun: {c.begun}; classified: {c.classified}; {waits}{unfinished}. Repeated calls: {c.repeated}."
    ]


def _service(run: Evidence) -> list[str]:
    """Unavailability and brown-outs over the run, by the probe."""
    if run.down is None:
        return ["Unavailable: unknown, the probe sent no request."]
    start, end = run.probed
    worst = ", ".join(
        f"{availability.worst_window(run.down, w)[0]:.2f} s of any {w:g} s" for w in availability.WINDOWS_S
    )
    silent = (
        f" It sent no request for {run.unprobed.s:.1f} s; availability in that time is unknown."
        if run.unprobed.s
        else ""
    )
    lines = [
        f"Unavailable, by the probe: {run.down.s:.2f} s of {end - start:.0f} s, in {len(run.down)} intervals; "
        f"at worst {worst}.{silent}"
    ]
    if run.brown is None:
        return [*lines, "Brown-outs: unknown, the timeline has no objectives."]
    answers = availability.brown_answers(run.frames.requests, run.ttft_max_ms)
    return [
        *lines,
        f"Brown-outs (good, but no TTFT within {run.ttft_max_ms:g} ms), by the probe: {run.brown.s:.2f} s in "
        f"{len(run.brown)} intervals; {answers} of the users' answers.",
    ]

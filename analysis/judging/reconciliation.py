"""Compares the recorded counts with those of the gateway, the engines and, on an embedded stack, the engines' ledgers. Pure.

Gateway and engines count independently of Brownout, so if they agree no request is missing from the records. A
difference is shown in the report; only a ledger that contradicts a record changes the verdict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.evidence import Evidence
from analysis.judging.finding import Finding, Status, unknown
from contract.counters import AFTER, BEFORE, BORN_AT, LLAMACPP_TOKENS, VLLM_ANSWERS
from contract.records import GATEWAY, Outcome
from contract.topology import Tier

AGREES, MORE, FEWER, CONTRADICTS, UNKNOWN = "agrees", "more", "FEWER", "CONTRADICTS", "unknown"
LEDGER, ENGINE = "ledger", "engine"
NAME = "reconciled"
MOST_LISTED = 5  # contradictions in one line
# Outcomes whose end the client did not see.
UNSEEN = (Outcome.ABANDONED, Outcome.STALLED, Outcome.TIMEOUT)

Counters = dict[str, float]
Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: one tier's recorded answers with one other source's count."""

    tier: str
    source: str  # gateway | engine | ledger
    unit: str  # answers | tokens
    ours: int | None
    at_most: int | None  # with the recorded requests whose end was not seen; None: unknown
    theirs: int | None
    judgement: str
    why: str = ""


def rows(run: Evidence) -> list[Row]:
    """Every tier with every source that counts its answers."""
    found: list[Row] = []
    for tier in run.frames.topology.tiers:
        found.append(through_gateway(run, tier))
        if tier.url is not None and not tier.cloud:
            found.append(at_engine(run, tier))
    return found + in_ledgers(run)


def through_gateway(run: Evidence, tier: Tier) -> Row:
    """The recorded answers through the gateway by this tier, and those that the gateway counts as successes.

    LiteLLM counts an answer as a success if it sent it to an end: in the records, a request with status 200 and a
    finish_reason, good or cut (the answer of a terminated engine is sent as complete). A recorded request with status 200 and
    no end, or without headers, may have continued after the client left, and may be in the gateway's count.
    """
    frames = run.frames
    requests = frames.requests.loc[frames.through_gateway, ["tier", "outcome", "finish_reason"]]
    named = requests[requests["tier"] == tier.name]
    ours = int(named["finish_reason"].notna().sum())
    at_most = len(named) + _unattributed(requests)

    kind = frames.topology.gateway.of_kind
    if kind.answers is None:
        why = f"{kind.name} has no counter of answers"
        return _compared(Row(tier.name, GATEWAY, "answers", ours, at_most, None, UNKNOWN, why))

    def is_mine(name: str, labels: Labels) -> bool:
        group, api_base = labels.get(kind.answers_group), labels.get(kind.answers_api_base)
        return name == kind.answers and frames.topology.tier_of(group, api_base) == tier.name

    theirs, why = _unless_reset(run, GATEWAY, *counted(frames.counters, GATEWAY, kind.answers, is_mine))
    return _compared(Row(tier.name, GATEWAY, "answers", ours, at_most, theirs, UNKNOWN, why))


def at_engine(run: Evidence, tier: Tier) -> Row:
    """The recorded good answers by this tier, through the gateway and direct, and the engine's own count.

    vLLM counts its ended answers by their reason: "length" and "stop" are compared, "abort" is left out. llama.cpp
    counts the tokens of ended answers. The counters of an engine whose process was restarted in the run begin at 0, so
    nothing can be compared. The requests by which chaos verifies a restore are in the engine's count and not in the records.
    """
    requests = run.frames.requests[["tier", "outcome", "good", "output_tokens"]]
    named = requests[requests["tier"] == tier.name]
    good = named[named["good"]]
    tokens = _names(run.frames.counters, tier.name) & {LLAMACPP_TOKENS, VLLM_ANSWERS} == {LLAMACPP_TOKENS}
    ours: int | None = len(good)
    at_most: int | None = len(named) + _unattributed(requests)
    if tokens:
        ours = int(good["output_tokens"].sum()) if good["output_tokens"].notna().all() else None
        at_most = ours if len(named) + _unattributed(requests) == len(good) else None
    counter = LLAMACPP_TOKENS if tokens else VLLM_ANSWERS

    def is_mine(name: str, labels: Labels) -> bool:
        return name == counter and labels.get("finished_reason", "length") in ("length", "stop")

    theirs, why = counted(run.frames.counters, tier.name, counter, is_mine)
    theirs, why = _unless_reset(run, tier.name, theirs, why)
    return _compared(
        Row(tier.name, ENGINE, "tokens" if tokens else "answers", ours, at_most, theirs, UNKNOWN, why)
    )


def _unless_reset(run: Evidence, source: str, theirs: int | None, why: str) -> tuple[int | None, str]:
    """The source's count, unless a fault stopped it and it does not report its start time."""
    gone = [t.name for t in run.trials if t.target == source and t.begun_at is not None]
    if theirs is None or not gone or BORN_AT in _names(run.frames.counters, source):
        return theirs, why
    return None, f"{gone[0]} stopped it, and its counters may have been reset"


def in_ledgers(run: Evidence) -> list[Row]:
    """Every recorded answer by a tier, compared with the ledgers; empty without ledgers."""
    found = run.against_ledgers
    if found is None:
        return []
    out = []
    for tier, ours in found.answers.items():
        wrong, missing = found.contradicted[tier], found.unrecorded[tier]
        why = _some(wrong) + _some([f"{nonce} is in its ledger and has no record" for nonce in missing])
        judgement = CONTRADICTS if wrong or missing else AGREES
        out.append(Row(tier, LEDGER, "answers", ours, ours, ours - len(wrong) + len(missing), judgement, why))
    return out


def reconciled(run: Evidence) -> Finding:
    """No record is contradicted by a ledger, and no request in a ledger is without a record. Embedded stacks only."""
    target = "no record that an engine's ledger contradicts"
    found = run.against_ledgers
    assert found is not None, "call it only if there are ledgers"
    n = sum(found.answers.values())
    if not n:
        return unknown(NAME, None, target, "no answer to compare")
    wrong = [words for of_tier in found.contradicted.values() for words in of_tier]
    missing = [f"{nonce} has no record" for of_tier in found.unrecorded.values() for nonce in of_tier]
    bad = len(wrong) + len(missing)
    return Finding(
        NAME, None, target, f"{bad} of {n} answers", Status.FAIL if bad else Status.PASS,
        evidence=_some(wrong + missing) or "every answer is in the ledger of its recorded tier, with the recorded end",
        value=float(bad), unit="answers", n=n,
        reason=f"{bad} of {n} answers contradict an engine's ledger: {_some(wrong + missing)}" if bad else "",
    )  # fmt: skip


def table(run: Evidence) -> pd.DataFrame:
    """reconciliation.csv: one row for each tier and source. `difference` is theirs − ours."""
    found = pd.DataFrame([
        {
            "tier": r.tier, "source": r.source, "unit": r.unit, "ours": r.ours, "ours_at_most": r.at_most, "theirs": r.theirs,
            "difference": None if r.ours is None or r.theirs is None else r.theirs - r.ours,
            "judgement": r.judgement, "why": r.why,
        }
        for r in rows(run)
    ])  # fmt: skip
    counts = ["ours", "ours_at_most", "theirs", "difference"]
    return found.astype(dict.fromkeys(counts, "Int64"))


def section(run: Evidence) -> list[str]:
    """The section of summary.md."""
    lines = [
        "## Reconciliation",
        "",
        "The same answers as counted by others. Only a ledger that contradicts a record changes the verdict.",
        "",
        "| tier | counted by | ours | theirs | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in rows(run):
        more = "" if r.at_most in (None, r.ours) else f" to {r.at_most}"
        ours = "unknown" if r.ours is None else f"{r.ours}{more} {r.unit}"
        result = r.judgement + (f": {r.why}" if r.why else "")
        theirs = "unknown" if r.theirs is None else str(r.theirs)
        lines.append(f"| {r.tier} | {r.source} | {ours} | {theirs} | {result.replace('|', '/')} |")
    return lines


def counted(
    scrapes: Sequence[dict[str, Any]], source: str, counter: str, is_mine: Callable[[str, Labels], bool]
) -> tuple[int | None, str]:
    """How much a source's counters increased from before the load to after it; or None, and why it is unknown.

    A labelled counter that is missing before the load counts as 0. A counter that decreased, or a process with another start
    time, means a reset.
    """
    pages = []
    for when in (BEFORE, AFTER):
        found = [s for s in scrapes if s["source"] == source and s["when"] == when]
        if not found:
            return None, f"its counters were not read {when} the load"
        if found[-1]["error"]:
            return None, f"its counters could not be read {when} the load: {found[-1]['error']}"
        pages.append(_values(found[-1]))
    before, after = pages
    if not any(name == counter for name, _ in after):
        return None, f"it has no counter {counter}"
    if before.get((BORN_AT, ())) != after.get((BORN_AT, ())):
        return None, "its process was restarted, which reset its counters"
    rise = 0.0
    for (name, labels), value in after.items():
        if is_mine(name, dict(labels)):
            rise += value - before.get((name, labels), 0.0)
    for key, value in before.items():
        if is_mine(key[0], dict(key[1])) and after.get(key, 0.0) < value:
            return None, "a counter decreased: it was reset"
    return round(rise), ""


def _values(scrape: dict[str, Any]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The sum of series that differ only in labels that are not kept."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for c in scrape["counters"]:
        key = (c["name"], tuple(sorted(c["labels"].items())))
        found[key] = found.get(key, 0.0) + c["value"]
    return found


def _names(scrapes: Sequence[dict[str, Any]], source: str) -> set[str]:
    return {c["name"] for s in scrapes if s["source"] == source for c in s["counters"]}


def _unattributed(requests: pd.DataFrame) -> int:
    """Requests that any tier may have answered: the client left before it knew the tier."""
    return int((requests["tier"].isna() & requests["outcome"].isin(UNSEEN)).sum())


def _compared(row: Row) -> Row:
    if row.theirs is None or row.ours is None:
        why = row.why or "some recorded answers have no usage"
        return Row(row.tier, row.source, row.unit, row.ours, row.at_most, row.theirs, UNKNOWN, why)
    judgement, why = AGREES, ""
    if row.theirs < row.ours:
        less = row.ours - row.theirs
        judgement = FEWER
        why = f"{less} fewer than recorded: the records are wrong, or several replicas are behind that url"
    elif row.at_most is not None and row.theirs > row.at_most:
        judgement = MORE
        why = f"{row.theirs - row.at_most} more: other clients, requests sent by chaos, or requests that the client abandoned"
    return Row(row.tier, row.source, row.unit, row.ours, row.at_most, row.theirs, judgement, why)


def _some(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - MOST_LISTED} more" if len(lines) > MOST_LISTED else ""
    return "; ".join(lines[:MOST_LISTED]) + more

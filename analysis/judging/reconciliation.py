"""Our counts against what others counted: the gateway, the engines, and, on an embedded stack, the engines' ledgers. Pure.

None of them is ours but the ledgers, so where they agree nothing of what was asked has fallen under the table. A
difference is a finding in the report; only a ledger that contradicts a record decides a verdict.
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
TOLD = 5  # contradictions that a line tells; reconciliation.csv has their number
# We did not wait for their end, or nobody told us of it.
UNSEEN = (Outcome.ABANDONED, Outcome.STALLED, Outcome.TIMEOUT)

Counters = dict[str, float]
Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: of one tier's answers, with one other who counts them."""

    tier: str
    source: str  # gateway | engine | ledger
    unit: str  # answers | tokens
    ours: int | None
    at_most: int | None  # with those of ours whose end we did not see; None: nobody knows how many
    theirs: int | None
    judgement: str
    why: str = ""


def rows(run: Evidence) -> list[Row]:
    """Every tier with every one who counts its answers."""
    found: list[Row] = []
    for tier in run.frames.topology.tiers:
        found.append(through_gateway(run, tier))
        if tier.url is not None and not tier.cloud:
            found.append(at_engine(run, tier))
    return found + in_ledgers(run)


def through_gateway(run: Evidence, tier: Tier) -> Row:
    """Our answers through the gateway by this tier, and those that the gateway counts as its successes.

    LiteLLM calls an answer a success that it has told to an end: ours are the requests with status 200 and a finish_reason,
    good or cut (an engine that was terminated is told as whole). A request of ours with a status 200 and no end, or whose
    headers never came, may have gone on after we left: it may be among the gateway's.
    """
    frames = run.frames
    requests = frames.requests.loc[frames.through_gateway, ["tier", "outcome", "finish_reason"]]
    named = requests[requests["tier"] == tier.name]
    ours = int(named["finish_reason"].notna().sum())
    at_most = len(named) + _untold(requests)

    kind = frames.topology.gateway.of_kind
    if kind.answers is None:
        why = f"{kind.name} counts no answers"
        return _compared(Row(tier.name, GATEWAY, "answers", ours, at_most, None, UNKNOWN, why))

    def is_mine(name: str, labels: Labels) -> bool:
        group, api_base = labels.get(kind.answers_group), labels.get(kind.answers_api_base)
        return name == kind.answers and frames.topology.tier_of(group, api_base) == tier.name

    theirs, why = _unless_begun_anew(run, GATEWAY, *counted(frames.counters, GATEWAY, kind.answers, is_mine))
    return _compared(Row(tier.name, GATEWAY, "answers", ours, at_most, theirs, UNKNOWN, why))


def at_engine(run: Evidence, tier: Tier) -> Row:
    """Our good answers by this tier, through the gateway and directly, and what the engine says itself.

    vLLM counts its ended answers by their reason: "length" and "stop" are compared, "abort" is left out. llama.cpp
    counts the tokens of ended answers. An engine whose process was taken away in the run counts from nothing, so that
    nothing can be compared; chaos's own requests, by which it verifies a restore, are the engine's and not ours.
    """
    requests = run.frames.requests[["tier", "outcome", "good", "output_tokens"]]
    named = requests[requests["tier"] == tier.name]
    good = named[named["good"]]
    tokens = _names(run.frames.counters, tier.name) & {LLAMACPP_TOKENS, VLLM_ANSWERS} == {LLAMACPP_TOKENS}
    ours: int | None = len(good)
    at_most: int | None = len(named) + _untold(requests)
    if tokens:
        ours = int(good["output_tokens"].sum()) if good["output_tokens"].notna().all() else None
        at_most = ours if len(named) + _untold(requests) == len(good) else None
    wanted = LLAMACPP_TOKENS if tokens else VLLM_ANSWERS

    def is_mine(name: str, labels: Labels) -> bool:
        return name == wanted and labels.get("finished_reason", "length") in ("length", "stop")

    theirs, why = counted(run.frames.counters, tier.name, wanted, is_mine)
    theirs, why = _unless_begun_anew(run, tier.name, theirs, why)
    return _compared(
        Row(tier.name, ENGINE, "tokens" if tokens else "answers", ours, at_most, theirs, UNKNOWN, why)
    )


def _unless_begun_anew(run: Evidence, source: str, theirs: int | None, why: str) -> tuple[int | None, str]:
    """What it counted, unless a fault took it away and it does not tell when it was born."""
    gone = [t.name for t in run.trials if t.target == source and t.begun_at is not None]
    if theirs is None or not gone or BORN_AT in _names(run.frames.counters, source):
        return theirs, why
    return None, f"it was taken away in {gone[0]}, and its counters may have begun anew"


def in_ledgers(run: Evidence) -> list[Row]:
    """Every answer that our records give to a tier, against the ledgers; none where there are none."""
    found = run.against_ledgers
    if found is None:
        return []
    out = []
    for tier, ours in found.answers.items():
        wrong, missing = found.contradicted[tier], found.unrecorded[tier]
        told = _some(wrong) + _some([f"{nonce} was asked there and has no record" for nonce in missing])
        judgement = CONTRADICTS if wrong or missing else AGREES
        out.append(
            Row(tier, LEDGER, "answers", ours, ours, ours - len(wrong) + len(missing), judgement, told)
        )
    return out


def reconciled(run: Evidence) -> Finding:
    """No record is contradicted by a ledger, and no request in a ledger is without a record. Embedded stacks only."""
    target = "no record that an engine's ledger contradicts"
    found = run.against_ledgers
    assert found is not None, "asked only where there are ledgers"
    n = sum(found.answers.values())
    if not n:
        return unknown(NAME, None, target, "no answer to compare")
    wrong = [x for told in found.contradicted.values() for x in told]
    missing = [f"{nonce} has no record" for told in found.unrecorded.values() for nonce in told]
    bad = len(wrong) + len(missing)
    return Finding(
        NAME, None, target, f"{bad} of {n} answers", Status.FAIL if bad else Status.PASS,
        evidence=_some(wrong + missing) or "every answer is in the ledger of the tier that we name, and ended as we say",
        value=float(bad), unit="answers", n=n,
        reason=f"{bad} of {n} answers contradict an engine's ledger: {_some(wrong + missing)}" if bad else "",
    )  # fmt: skip


def table(run: Evidence) -> pd.DataFrame:
    """reconciliation.csv: one row for each tier and source. `difference` is theirs less ours."""
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
    """The part of summary.md."""
    lines = [
        "## Reconciliation",
        "",
        "What others counted of the same answers. A difference is a finding in the report.",
        "",
        "| tier | counted by | ours | theirs | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in rows(run):
        more = "" if r.at_most in (None, r.ours) else f" to {r.at_most}"
        ours = "unknown" if r.ours is None else f"{r.ours}{more} {r.unit}"
        said = r.judgement + (f": {r.why}" if r.why else "")
        theirs = "unknown" if r.theirs is None else str(r.theirs)
        lines.append(f"| {r.tier} | {r.source} | {ours} | {theirs} | {said.replace('|', '/')} |")
    return lines


def counted(
    scrapes: Sequence[dict[str, Any]], source: str, wanted: str, is_mine: Callable[[str, Labels], bool]
) -> tuple[int | None, str]:
    """How much a source's counters rose from before the load to after it; or None, and why nobody knows.

    A labelled counter that was not there before was at 0. One that went down, or a process with another start, counts
    from nothing.
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
    if not any(name == wanted for name, _ in after):
        return None, f"it has no counter {wanted}"
    if before.get((BORN_AT, ())) != after.get((BORN_AT, ())):
        return None, "its process was started anew, and so were its counters"
    rise = 0.0
    for (name, labels), value in after.items():
        if is_mine(name, dict(labels)):
            rise += value - before.get((name, labels), 0.0)
    for key, value in before.items():
        if is_mine(key[0], dict(key[1])) and after.get(key, 0.0) < value:
            return None, "a counter went down: it began anew"
    return round(rise), ""


def _values(scrape: dict[str, Any]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Of several series that differ in labels which are not kept, the sum."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for c in scrape["counters"]:
        key = (c["name"], tuple(sorted(c["labels"].items())))
        found[key] = found.get(key, 0.0) + c["value"]
    return found


def _names(scrapes: Sequence[dict[str, Any]], source: str) -> set[str]:
    return {c["name"] for s in scrapes if s["source"] == source for c in s["counters"]}


def _untold(requests: pd.DataFrame) -> int:
    """Requests that may have been answered by any tier: we left before we were told by which."""
    return int((requests["tier"].isna() & requests["outcome"].isin(UNSEEN)).sum())


def _compared(row: Row) -> Row:
    if row.theirs is None or row.ours is None:
        why = row.why or "some of our answers came without a usage"
        return Row(row.tier, row.source, row.unit, row.ours, row.at_most, row.theirs, UNKNOWN, why)
    judgement, why = AGREES, ""
    if row.theirs < row.ours:
        less = row.ours - row.theirs
        judgement = FEWER
        why = f"{less} fewer than ours: our count is wrong, or more than one replica stands behind that url"
    elif row.at_most is not None and row.theirs > row.at_most:
        judgement = MORE
        why = f"{row.theirs - row.at_most} more: other clients, requests of chaos's own, or requests whose end we did not wait for"
    return Row(row.tier, row.source, row.unit, row.ours, row.at_most, row.theirs, judgement, why)


def _some(told: Sequence[str]) -> str:
    more = f"; and {len(told) - TOLD} more" if len(told) > TOLD else ""
    return "; ".join(told[:TOLD]) + more

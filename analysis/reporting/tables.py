"""The CSV tables of a report: one row per tier, way and kind of answer; per trial; per phase; per tier's documents."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.evidence import Evidence
from analysis.metrics import availability, chunks, cuts, latency, outages, quantiles, rates, shares
from analysis.metrics.parts import COLUMNS as PLACED
from analysis.metrics.parts import Kind, kinds, places
from analysis.metrics.windows import Trial
from contract.document import FIELDS
from contract.records import Outcome, Witness


def summary(run: Evidence) -> pd.DataFrame:
    """summary.csv: one row per tier × via × stream; tier "" is the requests that no known tier answered."""
    requests = run.frames.requests
    tier = requests["tier"].cat.add_categories("").fillna("")
    kinds: dict[Any, Any] = (
        requests[["via", "stream"]].groupby([tier, "via", "stream"], observed=True).indices
    )
    return pd.DataFrame(
        [
            {"tier": tier, "via": via, "stream": stream} | _summed(requests, which)
            for (tier, via, stream), which in sorted(kinds.items())
        ]
    )


def _of_all(name: str, values: pd.Series) -> dict[str, object]:
    """p50, p95, p99 and max of these values, as {"p50_<name>": value, …}."""
    return {f"{q}_{name}": v for q, v in quantiles.quantiles(values).items()}


def _summed(every: pd.DataFrame, which: np.ndarray) -> dict[str, object]:
    def requests(*columns: str) -> pd.DataFrame:
        return every[list(columns)].iloc[
            which
        ]  # only the needed columns: these may be most requests of a day

    answered = requests("outcome", "good", "witness")
    row: dict[str, object] = {"n": len(which)}
    row |= {str(o): int((answered["outcome"] == o).sum()) for o in Outcome}
    # One by one, so that only one column of numbers of most requests of a day is in memory at a time.
    row |= _of_all("latency_ms", latency.latency_ms(requests("good", "latency_ms")))
    scheduled = requests("good", "scheduled_at", "ended_at")
    row |= _of_all("latency_from_schedule_ms", latency.latency_ms(scheduled, of="scheduled"))
    del scheduled
    row |= _of_all("ttft_ms", latency.ttft_ms(requests("good", "stream", "ttft_ms")))
    tokens = "output_tokens", "gaps_ms", "ttft_ms", "thought_ms"
    row |= _of_all("tpot_ms", latency.tpot_ms(requests("good", "stream", *tokens)))
    gaps = chunks.chunk_gaps(requests("good", "stream", "gaps_ms"))
    row |= {f"{q}_chunk_gap_ms": v for q, v in gaps.ms.items()}
    row["mean_chunk_gap_ms"] = gaps.mean_ms
    row["clumped"] = gaps.clumped
    row["tokens_per_s"] = rates.tokens_per_s(requests("tier", "output_tokens", "sent_at", "ended_at"))
    row["answers_per_s"] = rates.answers_per_s(requests("good", "sent_at", "ended_at"))
    row |= {f"witness_{w}": int((answered["good"] & (answered["witness"] == w)).sum()) for w in Witness}
    row["witness_unknown"] = int((answered["good"] & answered["witness"].isna()).sum())
    return row


FAILOVER_COLUMNS = [
    "step", "trial", "fault", "target", "commanded_at", "lost_at", "lost_after_s", "lost_evidence",
    "first_answer_by", "failover_s", "detection_s", "detection_ledger_s", "failover_doubt",
    "gap_new_lower_s", "gap_new_upper_s", "gap_kept_lower_s", "gap_kept_upper_s",
    "unavailable_s", "worst_1_s", "worst_10_s", "worst_60_s", "unprobed_s", "brown_s", "brown_intervals", "brown_answers",
    "effective_s", "restore_s", "restored_by", "restore_verified_by", "restore_ready_s", "restore_waited_for", "recovery_s", "recovery_censored", "recovery_doubt", "cuts", "stalls",
]  # fmt: skip


def failovers(run: Evidence) -> pd.DataFrame:
    """failover.csv: one row per trial of a step.

    `failover_s` is to the tier that answered first after the loss (`first_answer_by`); the verdict's is to the tier that
    the expectation names. `…_doubt`: why that number is missing and its cell empty. `restore_s`: commanded → verified by an
    answer (`restore_verified_by`); `restore_ready_s`: → ready, if the controller got no answer then; `restore_waited_for`: what
    was missing meanwhile. Lengths in seconds, from the fault to the next one on its target; an empty cell is "not seen".
    """
    rows = []
    for t in run.trials:
        seen = run.lost.get((t.step, t.trial))
        row: dict[str, object] = {
            "step": t.step, "trial": t.trial, "fault": t.fault, "target": t.target, "commanded_at": t.commanded_at,
            "lost_at": run.lost_at(t), "lost_evidence": seen.evidence if seen else None, "restored_by": t.restored_by,
            "lost_after_s": _less(run.lost_at(t), t.commanded_at), "effective_s": _less(t.effective_at, t.commanded_at),
            "restore_s": _less(t.restored_at, t.restore_commanded_at), "restore_ready_s": _less(t.ready_at, t.restore_commanded_at),
            "restore_verified_by": t.witness or (None if t.restored_at is None else "an answer to chaos"),
            "restore_waited_for": "; ".join(t.missing) or None,
        }  # fmt: skip
        rows.append(row | _failover(run, t) | _service(run, t) | _return(run, t))
    return pd.DataFrame(rows, columns=FAILOVER_COLUMNS)


def _failover(run: Evidence, t: Trial) -> dict[str, object]:
    """How the next tier took over, and how long the probe had no good answer."""
    lost_at = run.lost_at(t)
    if lost_at is None:
        return {}
    row: dict[str, object] = {}
    first = outages.first_answer(run.fit(t), run.frames.covered, t, lost_at)
    if first is not None:
        took = outages.as_length(first, lost_at)
        doubt = run.doubt(t, lost_at, took, 0.0)
        to = str(first["tier"])
        row |= {"first_answer_by": to, "failover_doubt": doubt}
        if doubt is None:
            row["failover_s"] = took.s
            row["detection_s"], row["detection_ledger_s"] = run.detection(took, lost_at, to)
    for lane, word in zip(shares.PROBES, ("new", "kept"), strict=True):
        gap = outages.failover_gap(run.around(t), t, lost_at, lane, run.frames.ranks)
        if gap is not None:
            row |= {f"gap_{word}_lower_s": gap.lower_s, f"gap_{word}_upper_s": gap.upper_s}
    return row


def _service(run: Evidence, t: Trial) -> dict[str, object]:
    """How the gateway served between this fault and the next one on its target."""
    if t.gone_from is None:
        return {}
    found = cuts.cuts(run.around(t), t, run.trials)
    stalls = int((found["outcome"] == Outcome.STALLED).sum())
    row: dict[str, object] = {
        "cuts": len(found) - stalls,
        "stalls": stalls,
        "unprobed_s": run.unprobed.within(t.gone_from, t.ends_at).s,
    }
    if run.down is not None:
        down = run.down.within(t.gone_from, t.ends_at)
        row["unavailable_s"] = down.s
        row |= {f"worst_{w:g}_s": availability.worst_window(down, w)[0] for w in availability.WINDOWS_S}
    if run.brown is not None:
        brown = run.brown.within(t.gone_from, t.ends_at)
        requests = run.around(t)
        row |= {"brown_s": brown.s, "brown_intervals": len(brown)}
        row["brown_answers"] = availability.brown_answers(cuts.in_trial(requests, t), run.ttft_max_ms)
    return row


def _return(run: Evidence, t: Trial) -> dict[str, object]:
    """How the tier came back into service."""
    back, doubt = run.recovery(t, float("inf"))
    if back is None:
        return {}
    if doubt is not None:
        return {"recovery_doubt": doubt}
    return {"recovery_s": back.s, "recovery_censored": back.censored}


_OUTCOMES = ["requests", "good", *map(str, Outcome), "goodput"]
_LENGTHS = [
    "sent", "lost_to_fault", "p50_latency_ms", "p99_latency_ms", "p50_latency_from_schedule_ms",
    "p99_latency_from_schedule_ms", "p50_ttft_ms", "p99_ttft_ms",
]  # fmt: skip
PHASE_COLUMNS = [
    "step", "trial", "target", "phase", "part", "start_s", "length_s", *_OUTCOMES, *_LENGTHS, "touched",
]  # fmt: skip
PART_COLUMNS = ["part", *_OUTCOMES, "continuity", *_LENGTHS]
_COUNTED = ["lane", "via", "outcome", "good", "touched", "ttft_ms", "latency_ms"]
PHASED = ["lane", "via", "stream", "good", "touched", "ttft_ms", "latency_ms", *PLACED]


def phases(run: Evidence) -> pd.DataFrame:
    """phases.csv: what users got in each phase of each trial of each step, one row per phase, in the order of the faults' begins.

    baseline: the run's start to its first fault. transition: begun → effective. in effect: → the restore is commanded.
    restoring: → verified. settling: → the next fault on any target, or the end. Steps may overlap, and so may their phases.

    Every request of users through the gateway counts in exactly one row: in the window of the first fault that it touches
    (`parts.part_of`), and there in the first phase that it touches. This applies to `requests`, the outcomes, `goodput` and
    `touched` (requests under way in a second in which the client was overloaded). Latency and TTFT are of the good ones among
    the requests that were sent in the phase, `sent`; `lost_to_fault` of these were not good and count in a fault that began
    later. If faults overlap, a request is sent in a phase of each, and counts in that of the first.
    `part`: before, during, between or after faults. `start_s`: since the run's start.
    """
    users = shares.users_requests(run.frames.requests[shares.for_within(run.frames.requests, PHASED)])
    rows = [(part, phase) for part in run.parts for phase in part.phases]
    found = places(run.parts, users)
    counted, at = _by_row(found.row, len(rows)), users["sent_at"].to_numpy(float)
    table = []
    for i, (part, p) in enumerate(rows):
        if p.end <= p.start and part.kind is not Kind.DURING:  # there is nothing between overlapping windows
            continue
        own = users.iloc[counted[i]]
        row: dict[str, object] = {
            "step": p.step or None, "trial": p.trial or None, "target": p.target or None, "phase": p.name,
            "part": str(part.kind), "start_s": p.start - run.frames.started_at, "length_s": p.end - p.start,
            "touched": int(own["touched"].sum()),
        }  # fmt: skip
        row |= _outcomes(own, run.ttft_max_ms)
        first, last = np.searchsorted(at, [p.start, p.end])
        table.append(row | _lengths(users, slice(first, last), found.elsewhere[first:last]))
    return pd.DataFrame(table, columns=PHASE_COLUMNS).astype({"trial": "Int64"})


def by_part(run: Evidence) -> pd.DataFrame:
    """What users got before, during, between and after faults: one row per kind of part in the run, and one of all.

    Columns as in `phases`, and `continuity`.
    """
    requests = run.frames.requests
    outcomes = shares.for_within(requests, _COUNTED)
    users = np.flatnonzero(shares.of_users(requests))
    there = kinds(run.parts)
    kind = np.array(
        [there.index(part.kind) if part.kind in there else -1 for part in run.parts], dtype=np.int8
    )
    found = places(run.parts, requests[PLACED].iloc[users])
    counted, sent = _by_row(kind[found.part], len(there)), _by_row(kind[found.sent_in], len(there))

    def row(name: str, counted: np.ndarray, sent: np.ndarray, elsewhere: np.ndarray) -> dict[str, object]:
        # Only the needed columns: these may be most requests of a day.
        cells = _part_row(name, requests[outcomes].iloc[counted], run.ttft_max_ms)
        return cells | _lengths(requests, sent, elsewhere)

    rows = []
    for i, name in enumerate(there):
        rows.append(row(str(name), users[counted[i]], users[sent[i]], found.elsewhere[sent[i]]))
    if len(there) > 1:
        rows.append(row("all", users, users, np.zeros(len(users), dtype=bool)))
    return pd.DataFrame(rows, columns=PART_COLUMNS)


def _by_row(row: np.ndarray, count: int) -> list[np.ndarray]:
    """The requests of each row, in their order."""
    order = np.argsort(row, kind="stable")
    edges = np.searchsorted(row[order], np.arange(count + 1))
    return [order[first:last] for first, last in pairwise(edges.tolist())]


def _part_row(name: str, requests: pd.DataFrame, ttft_max_ms: float | None) -> dict[str, object]:
    return {"part": name, "continuity": shares.continuity(requests).good.ratio} | _outcomes(
        requests, ttft_max_ms
    )


def _outcomes(requests: pd.DataFrame, ttft_max_ms: float | None) -> dict[str, object]:
    """The outcomes of these requests: the columns of _OUTCOMES."""
    row: dict[str, object] = {"requests": len(requests), "good": int(requests["good"].sum())}
    row |= {str(o): int((requests["outcome"] == o).sum()) for o in Outcome}
    return row | {"goodput": shares.goodput(requests, ttft_max_ms).ratio}


def _lengths(requests: pd.DataFrame, which: np.ndarray | slice, elsewhere: np.ndarray) -> dict[str, object]:
    """The latencies of the requests sent in one phase; `elsewhere`: which of them count in a fault that began later."""

    def of(*columns: str) -> pd.DataFrame:
        return requests[list(columns)].iloc[which]  # as in `_summed`

    ends = of("outcome", "good")
    lost = elsewhere & (~ends["good"] & (ends["outcome"] != Outcome.ABANDONED)).to_numpy(bool)
    row: dict[str, object] = {
        "sent": int(of("sent_at")["sent_at"].notna().sum()),
        "lost_to_fault": int(lost.sum()),
    }
    for name, values in (
        ("latency_ms", lambda: latency.latency_ms(of("good", "latency_ms"))),
        (
            "latency_from_schedule_ms",
            lambda: latency.latency_ms(of("good", "scheduled_at", "ended_at"), of="scheduled"),
        ),
        ("ttft_ms", lambda: latency.ttft_ms(of("good", "stream", "ttft_ms"))),
    ):
        found = quantiles.quantiles(values())
        row |= {f"{q}_{name}": found[q] for q in ("p50", "p99")}
    return row


DOCUMENT_COLUMNS = [
    "tier", "answers", "cut", "documents", "valid", *(f"{name}_right" for name in FIELDS), "right", "accuracy",
    "accuracy_lower", "accuracy_upper", "documents_per_min", *(f"{q}_latency_ms" for q in ("p50", "p95", "p99", "max")),
]  # fmt: skip


def documents(run: Evidence) -> pd.DataFrame:
    """documents.csv: one row per tier: how it classified documents. No rows if no document was classified.

    `answers` came to their end, `cut` did not. The following counts are of documents, by the tier's first answer for each:
    answered, valid (JSON that the client can use), each field right, all fields `right`. `accuracy` is right ÷ documents,
    with its 95 % interval; latencies are from the first call for a document to the end of the call that was answered.
    """
    rows = [
        {
            "tier": of.tier, "answers": of.answers, "cut": of.cut, "documents": of.answered, "valid": of.valid,
            "right": of.right, "accuracy": of.accuracy, "documents_per_min": of.per_minute,
        }
        | {f"{name}_right": n for name, n in of.right_fields.items()}
        | dict(zip(("accuracy_lower", "accuracy_upper"), of.interval or (None, None), strict=True))
        | {f"{q}_latency_ms": ms for q, ms in of.latency.items()}
        for of in run.documents
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=DOCUMENT_COLUMNS)


def _less(later: float | None, earlier: float | None) -> float | None:
    return None if later is None or earlier is None else later - earlier

"""What is measured, as an operator reads it, made of the functions' own docstrings: `docs/metrics.md` is this text."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from analysis import (
    attribution,
    availability,
    balance,
    checkers,
    delivery,
    documents,
    health,
    lost,
    metrics,
    outages,
    overhead,
    overload,
    paired,
    parts,
    retried,
    tables,
    trials,
    windows,
)
from analysis.compare import bootstrap, difference, expected, judged, kept, likeness, samples, tolerance
from contract import quantile

HEAD = """# What is measured

The definition of a number is the docstring of the function that computes it. This page is what
`python -m analysis definitions` prints: first what an operator may expect of a run, by the word that stands under
`expect:`, then the metrics.
"""
METRICS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Parts of a run": (parts.window, parts.part_of, parts.span),
    "Phases": (windows.phases_of, tables.phases),
    "Lost": (lost.lost,),
    "Failover": (outages.failover,),
    "Detection": (outages.detection, outages.calm_ttft_s, outages.detection_by_ledger),
    "Failover gap": (outages.failover_gap,),
    "Recovery": (outages.recovery,),
    "Unavailability": (availability.down, availability.worst_window, availability.unasked),
    "Brown-outs": (availability.brown, availability.brown_answers),
    "Continuity, goodput": (metrics.continuity, metrics.goodput),
    "Cuts and stalls": (metrics.cuts, metrics.in_trial, metrics.cut_rates),
    "Retries": (retried.fates,),
    "Health": (health.believed,),
    "Why a lower tier answered": (attribution.why_lower, attribution.cloud_answers),
    "Balancing": (balance.spreads, balance.jain),
    "Gateway overhead": (overhead.pairs_of, overhead.overhead, overhead.said_ms),
    "Latency": (metrics.latency_ms, delivery.hidden, metrics.quantiles, quantile.rank),
    "Tokens": (
        metrics.ttft_ms,
        metrics.first_thought_ms,
        metrics.chunk_gaps_ms,
        metrics.chunk_gaps,
        metrics.clumped,
        metrics.who_clumps,
        metrics.tpot_ms,
    ),
    "Throughput": (
        metrics.tokens_per_s,
        metrics.answers_per_s,
        metrics.tokens_over_time,
        metrics.answers_over_time,
    ),
    "Load wanted and delivered": (delivery.delivery,),
    "An overloaded client": (overload.overloaded_seconds, overload.touched, overload.rests_on_overload),
    "Documents": (
        documents.accuracy,
        documents.compared,
        paired.score_interval,
        paired.would_tell,
        documents.per_minute,
        documents.latency_ms,
        documents.client,
    ),
    "Repeated trials": (trials.summarise, trials.interval_ranks),
    "Comparison": (
        likeness.conditions,
        judged.judge,
        judged.Judged,
        judged.exit_code,
        expected.judge,
        expected.exit_code,
        kept.counts,
        tolerance.parse,
        difference.of_estimates,
        bootstrap.block_s,
        bootstrap.quantiles_again,
        bootstrap.rate_again,
        overhead.medians_again,
        difference.of_trials,
        difference.of_proportions,
        bootstrap.design_effect,
        difference.holm,
        difference.would_have_seen,
        samples.touched_bounds,
    ),
}


def text() -> str:
    """The whole page."""
    parts = [
        HEAD,
        "## Expectations",
        "",
        *(_expectation(n, m) for n, m in checkers.catalogue().items()),
        "## Metrics",
        "",
    ]
    for name, functions in METRICS.items():
        parts += [f"### {name}", ""]
        parts += [f"`{named(f)}`: {said(f)}\n" for f in functions]
    return "\n".join(parts)


def _expectation(name: str, checker: ModuleType) -> str:
    return "\n".join(
        [f"### {name}", "", f"{said(checker)}\n", f"{said(checker.Params)}\n", f"{said(checker.check)}\n"]
    )


def named(function: Callable[..., Any]) -> str:
    """`metrics.goodput`"""
    return f"{function.__module__.removeprefix('analysis.')}.{function.__name__}"


def said(of: Any) -> str:
    """A docstring, without its indentation."""
    return inspect.getdoc(of) or ""

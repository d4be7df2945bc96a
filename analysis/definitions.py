"""`docs/metrics.md`: the definition of each expectation and metric, generated from the functions' docstrings."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from analysis import checkers
from analysis.compare import bootstrap, difference, expected, judged, kept, likeness, samples, tolerance
from analysis.judging import balance
from analysis.metrics import (
    attribution,
    availability,
    chunks,
    client_retries,
    cuts,
    delivery,
    documents,
    health,
    latency,
    outages,
    overhead,
    overload,
    paired,
    parts,
    quantiles,
    rates,
    shares,
    target_loss,
    trials,
    windows,
)
from analysis.reporting import tables
from contract import quantile

HEAD = """# What is measured

The definition of a number is the docstring of the function that computes it. `python -m analysis definitions` prints this
page: first the expectations that a timeline can name under `expect:`, then the metrics.
"""
METRICS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Parts of a run": (parts.window, parts.part_of, parts.span),
    "Phases": (windows.phases_of, tables.phases),
    "Lost": (target_loss.lost,),
    "Failover": (outages.failover,),
    "Detection": (outages.detection, outages.calm_ttft_s, outages.detection_by_ledger),
    "Failover gap": (outages.failover_gap,),
    "Recovery": (outages.recovery,),
    "Unavailability": (availability.down, availability.worst_window, availability.unprobed),
    "Brown-outs": (availability.brown, availability.brown_answers),
    "Continuity, goodput": (shares.continuity, shares.goodput),
    "Cuts and stalls": (cuts.cuts, cuts.in_trial, cuts.cut_rates),
    "Retries": (client_retries.fates,),
    "Health": (health.believed,),
    "Why a lower tier answered": (attribution.why_lower, attribution.cloud_answers),
    "Balancing": (balance.spreads, balance.jain),
    "Gateway overhead": (overhead.pairs_of, overhead.overhead, overhead.header_ms),
    "Latency": (latency.latency_ms, delivery.hidden, quantiles.quantiles, quantile.rank),
    "Tokens": (
        latency.ttft_ms,
        latency.first_thought_ms,
        chunks.chunk_gaps_ms,
        chunks.chunk_gaps,
        chunks.clumped,
        chunks.clumping_cause,
        latency.tpot_ms,
    ),
    "Throughput": (
        rates.tokens_per_s,
        rates.answers_per_s,
        rates.tokens_over_time,
        rates.answers_over_time,
    ),
    "Load scheduled and delivered": (delivery.delivery,),
    "An overloaded client": (overload.overloaded_seconds, overload.touched, overload.rests_on_overload),
    "Documents": (
        documents.accuracy,
        documents.compared,
        paired.score_interval,
        paired.pairs_to_decide,
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
        bootstrap.resampled_quantiles,
        bootstrap.resampled_rate,
        overhead.resampled_medians,
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
        parts += [f"`{named(f)}`: {docstring_of(f)}\n" for f in functions]
    return "\n".join(parts)


def _expectation(name: str, checker: ModuleType) -> str:
    return "\n".join(
        [
            f"### {name}",
            "",
            f"{docstring_of(checker)}\n",
            f"{docstring_of(checker.Params)}\n",
            f"{docstring_of(checker.check)}\n",
        ]
    )


def named(function: Callable[..., Any]) -> str:
    """`shares.goodput`: without the packages `analysis` and `metrics`, `judging` or `reporting`."""
    module = function.__module__.removeprefix("analysis.")
    for room in ("metrics.", "judging.", "reporting."):
        module = module.removeprefix(room)
    return f"{module}.{function.__name__}"


def docstring_of(of: Any) -> str:
    """The docstring without its indentation; empty if there is none."""
    return inspect.getdoc(of) or ""

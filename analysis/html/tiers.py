"""The part of the page per tier: latency from sent and from scheduled, tokens, throughput, goodput, outcomes; why a lower tier
answered."""

import pandas as pd

from analysis.evidence import Evidence
from analysis.html.anchors import metric
from analysis.html.table import Cell, Column, Table, cell
from analysis.judging import balance
from analysis.metrics import attribution
from analysis.metrics.by_tier import TOKENS
from analysis.reporting import summary
from analysis.reporting.formatting import UNKNOWN, fine, maybe, ms
from contract.records import Outcome

QUANTILES = ("p50", "p95", "p99", "max")


def tables(run: Evidence, summary: pd.DataFrame) -> list[Table]:
    """`summary`: as in summary.csv."""
    balanced = [_balance(run, rank) for rank in balance.groups(run)]
    return [_lengths(run), _rates(run), _tiers(run), _why(run), *balanced, _outcomes(summary)]


def _name(tier: str) -> Cell:
    return Cell(tier, tier=tier)


def _lengths(run: Evidence) -> Table:
    """A row for each length of each tier."""
    latency, tokens = metric("Latency"), metric("Tokens")
    rows = []
    for of in run.by_tier:
        u = of.users
        if not u.good:
            continue
        for name, about, n, found, form in (
            ("latency, from sent", latency, u.good, u.latency, ms),
            ("latency, from scheduled", latency, u.good, u.latency_from_schedule, ms),
            ("TTFT of streamed answers", tokens, u.streamed, u.ttft, ms),
            *([("first thought", tokens, u.thoughtful, u.thought, ms)] if u.thoughtful else []),
            ("chunk gap", tokens, u.gaps, u.chunk_gap, fine),
            ("TPOT", tokens, u.timed, u.tpot, fine),
        ):
            values = [found[q] for q in QUANTILES]
            rows.append(
                [_name(of.tier.name), Cell(name, href=f"#{about}"), cell(n), *(Cell(UNKNOWN if v is None else form(v)) for v in values)]
            )  # fmt: skip
    return Table(
        "Users' good answers through the gateway (lane load). n: the number of values. The quantiles have no interval, because "
        "answers of one run depend on one another; repeated trials and repeated runs have one. A tier without good answers to users "
        "is left out.",
        [Column("tier", number=False), Column("length", number=False), Column("n"), *(Column(q, latency) for q in QUANTILES)],
        rows,
        empty="Users got no good answer.",
    )  # fmt: skip


def _rates(run: Evidence) -> Table:
    objective, rate = run.ttft_max_ms, metric("Throughput")
    within = (
        "within objectives (none)" if objective is None else f"within objectives (TTFT ≤ {ms(objective)})"
    )
    rows = []
    for of in run.by_tier:
        u = of.users
        share = f"{u.within} of {u.good}" + (f" ({u.within / u.good:.2%})" if u.good else "")
        rows.append(
            [
                _name(of.tier.name), cell(u.good), Cell(maybe(u.tokens_per_s, "{:.1f}")), Cell(maybe(u.answers_per_s, "{:.2f}")),
                Cell(share),
            ]
        )  # fmt: skip
    return Table(
        "What each tier gave users while it had requests, and how much of it was within the objectives.",
        [
            Column("tier", number=False), Column("good answers"), Column("tokens/s", rate), Column("answers/s", rate),
            Column(within, metric("Continuity, goodput")),
        ],
        rows,
    )  # fmt: skip


def _tiers(run: Evidence) -> Table:
    rows = [
        [
            _name(of.tier.name), cell(of.tier.engine), cell(of.tier.model), Cell("yes" if of.tier.cloud else "no"),
            Cell(summary.latency(of)), Cell(maybe(of.tokens_per_s, "{:.1f} tokens/s")),
            Cell(summary.status(of).replace("**", ""), bold=of.left is not None),
        ]
        for of in run.by_tier
    ]  # fmt: skip
    return Table(
        "The tiers and what each gave, over all lanes, through the gateway and direct, in fallback order.",
        [
            Column("tier", number=False), Column("engine", number=False), Column("model", number=False),
            Column("cloud", number=False), Column(f"latency for {TOKENS} tokens (p50 / p95 / p99)", metric("Latency")),
            Column("throughput", metric("Throughput")), Column("status", number=False),
        ],
        rows,
    )  # fmt: skip


def _why(run: Evidence) -> Table:
    table = attribution.by_class(run.lower, run.frames.ranks)
    rows = [
        [
            _name(str(tier)),
            Cell("cloud: spurious ones are leaks" if tier in run.clouds else "own"),
            cell(sum(int(counts[w]) for w in attribution.SHOWN)),
            *(cell(counts[w]) for w in attribution.SHOWN),
        ]
        for tier, counts in table.iterrows()
    ]
    about = metric("Why a lower tier answered")
    return Table(
        "Why a lower tier answered: its answers through the gateway, each with one class.",
        [
            Column("tier", about, number=False), Column("kind", number=False), Column("n", about),
            *(Column(w, about) for w in attribution.SHOWN),
        ],
        rows,
        empty="There is only one rank of tiers.",
    )  # fmt: skip


def _balance(run: Evidence, rank: list[str]) -> Table:
    about = metric("Balancing")
    rows = [
        [Cell(s.phase), cell(s.n), *(Cell(balance.share_text(x)) for x in s.shares)]
        for s in balance.spreads(run, rank)
    ]
    return Table(
        "How the gateway spread its answers over the deployments of one group: each deployment's share of their good answers.",
        [Column("phase", about, number=False), Column("n", about), *(Column(tier, about) for tier in rank)],
        rows,
    )


def _outcomes(summary: pd.DataFrame) -> Table:
    outcomes = [str(o) for o in Outcome if len(summary) and summary[str(o)].any()]
    rows = [
        [
            _name(str(r["tier"])) if r["tier"] else Cell("unknown"), Cell(str(r["via"])),
            Cell("stream" if r["stream"] else "plain"), cell(r["n"]), *(cell(r[o]) for o in outcomes),
        ]
        for r in summary.to_dict("records")
    ]  # fmt: skip
    return Table(
        "The outcome of every request, by the tier that answered and the way the request was sent; all lanes but warm-up.",
        [
            Column("tier", number=False), Column("via", number=False), Column("kind", number=False), Column("n"),
            *(Column(o) for o in outcomes),
        ],
        rows,
        empty="No request was sent.",
    )  # fmt: skip

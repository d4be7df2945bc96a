"""Reduces a run to its samples: the data that a comparison needs of each metric, of a size independent of the run's length.

The metrics are those of `metrics` and `tables`; none is defined here.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from analysis.compare import bootstrap, kept, likeness
from analysis.compare.estimate import Curve, Estimate, Proportion, Sample, Side, Trials
from analysis.evidence import Evidence
from analysis.judging import verdict
from analysis.judging.finding import Status
from analysis.metrics import attribution, chunks, cuts, latency, outages, overhead, quantiles, rates, shares
from analysis.reporting import tables
from contract.quantile import rank
from contract.records import GATEWAY, Lane, Outcome

ALL = "all tiers"
NEEDS = {"p50": 10, "p95": 100, "p99": 500}  # values in each run: at least five lie beyond the quantile
MIN_PAIRS = 6
MOST_ANSWERS = 20_000  # whose chunk gaps are used; of more, a sample evenly over the run
OVERLOADED = 0.1  # share of seconds: beyond that the load generator limits a rate
CURVE = 201
GAPS = ("gap_new", "gap_kept")
FAILED = tuple(
    o for o in Outcome if o not in (Outcome.OK, Outcome.ABANDONED)
)  # abandoned: by the end of the run
LATE = (Outcome.TIMEOUT, Outcome.STALLED)  # an overloaded load generator may have caused these itself


def side(run: Evidence) -> Side:
    """The data kept of this run."""
    samples, curves = [], []
    for of, via, requests in _groups(run):
        answers = _Answers(run, requests)
        samples += list(answers.samples(of, via))
        curves += list(answers.curves(of, via))
    samples += [*_overhead(run), *_trials(run), *_proportions(run)]
    frames, lines = run.frames, notes(run)
    judged = kept.verdict(run)
    if isinstance(judged, str):
        lines.append(f"its verdict cannot be determined: {judged}")
    return Side(
        frames.name, likeness.conditions(frames), tuple(lines), tuple(frames.tiers), tuple(samples), tuple(curves),
        None if isinstance(judged, str) else judged, kept.counts(run),
    )  # fmt: skip


def notes(run: Evidence) -> list[str]:
    """The problems of a run that affect a comparison: cut short, not restored, or overloaded."""
    frames, found = run.frames, []
    if frames.cut_short:
        found.append(f"cut short: {frames.cut_short}")
    found += frames.missing
    if frames.torn:
        found.append(f"torn tails were skipped: {', '.join(frames.torn)}")
    restored = verdict.restored(run)
    if restored.status is not Status.PASS:
        found.append(f"not restored: {restored.evidence}")
    seconds = len(frames.samples["client"])
    if len(run.overloaded):
        found.append(f"the load generator was overloaded in {len(run.overloaded)} of {seconds} seconds")
    return found


def _groups(run: Evidence) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(of, via, requests): the users' through the gateway, together and by tier; those sent directly to a tier."""
    requests = run.frames.requests
    load = requests[(requests["lane"] == Lane.LOAD) & requests["sent_at"].notna()]
    users = shares.users_requests(load)
    yield ALL, GATEWAY, users
    for tier in run.frames.tiers:
        yield tier, GATEWAY, users[users["tier"] == tier]
    for tier in run.frames.tiers:
        yield tier, tier, load[load["via"] == tier]


class _Answers:
    """The samples of one group of requests."""

    def __init__(self, run: Evidence, requests: pd.DataFrame) -> None:
        self._run, self._requests = run, requests
        length_s = run.frames.ended_at - run.frames.started_at
        p95_ms = quantiles.quantiles(latency.latency_ms(requests))["p95"] or 0.0
        self._block_s = bootstrap.block_s(length_s, p95_ms / 1000)

    def samples(self, of: str, via: str) -> Iterator[Sample]:
        if not self._requests["good"].any():
            return
        yield from self._lengths(of, via, "latency", latency.latency_ms(self._requests))
        if self._run.frames.open_loop:  # a closed one schedules a request when it sends it
            scheduled = latency.latency_ms(self._requests, of="scheduled")
            yield from self._lengths(of, via, "latency_from_schedule", scheduled)
        yield from self._lengths(of, via, "ttft", latency.ttft_ms(self._requests))
        if of != ALL:
            yield from self._lengths(of, via, "tpot", latency.tpot_ms(self._requests), ("p50", "p95"))
            yield from self._gaps(of, via)
        for metric, unit in (("answers_per_s", "answers/s"), ("tokens_per_s", "tokens/s")):
            rate = self._rate(metric)
            if rate is not None:
                yield Sample(metric, "rate", of, via, unit, rate)

    def curves(self, of: str, via: str) -> Iterator[Curve]:
        for metric, values in (
            ("latency", latency.latency_ms(self._requests)), ("ttft", latency.ttft_ms(self._requests)),
        ):  # fmt: skip
            known = np.sort(values.dropna().to_numpy(float))
            if len(known):
                at = known[[rank(len(known), share) for share in np.linspace(0, 1, CURVE).tolist()]]
                yield Curve(metric, of, via, len(known), tuple(float(x) for x in at))

    def _block(self, requests: pd.DataFrame) -> np.ndarray:
        since = requests["sent_at"].to_numpy(float) - self._run.frames.started_at
        return np.floor(since / self._block_s).astype(int)

    def _lengths(
        self, of: str, via: str, metric: str, values: pd.Series, at: tuple[str, ...] = ("p50", "p95", "p99")
    ) -> Iterator[Sample]:
        known = values.dropna()
        if known.empty:
            return
        rows = self._requests.loc[known.index, ["sent_at", "touched"]]
        touched = rows["touched"].to_numpy(bool)
        ms, block = known.to_numpy(float), self._block(rows)
        yield from _quantiles(of, via, metric, ms[~touched], block[~touched], int(touched.sum()), at)

    def _gaps(self, of: str, via: str) -> Iterator[Sample]:
        """All gaps of an answer belong to the block in which it was sent."""
        requests = self._requests[self._requests["good"] & self._requests["stream"]]
        untouched = requests[~requests["touched"]]
        few = untouched.iloc[:: max(1, -(-len(untouched) // MOST_ANSWERS))]
        places = self._block(few)
        parts = [(b, chunks.chunk_gaps_ms(few[places == b])) for b in np.unique(places)]
        gaps_ms = np.concatenate([np.zeros(0), *(g for _, g in parts)])
        block = np.concatenate([np.zeros(0, int), *(np.full(len(g), b) for b, g in parts)])
        if len(gaps_ms):
            share = (len(requests) - len(untouched)) / max(1, len(untouched))
            yield from _quantiles(
                of, via, "chunk_gap", gaps_ms, block, round(share * len(gaps_ms)), ("p50", "p95")
            )

    def _rate(self, metric: str) -> Estimate | None:
        """The rate over the busy time. The busy times of blocks overlap at their edges, so the bootstrap is scaled to the value."""
        whole = {"answers_per_s": rates.answers_per_s, "tokens_per_s": rates.tokens_per_s}[metric]
        value = whole(self._requests)
        if value is None:
            return None
        fit = self._requests["good"] if metric == "answers_per_s" else self._requests["output_tokens"].notna()
        rows = self._requests[fit & self._requests["ended_at"].notna()]
        place = self._block(rows)
        order = np.argsort(place, kind="stable")
        edges = [*np.flatnonzero(np.diff(place[order], prepend=-1)).tolist(), len(rows)]
        spans = []
        for first, last in pairwise(edges):
            part = rows.iloc[order[first:last]]
            amount = len(part) if metric == "answers_per_s" else float(part["output_tokens"].sum())
            rate = whole(part)
            if rate:
                spans.append((amount, amount / rate))
        amounts, lengths = (np.array(x, float) for x in zip(*spans, strict=True))
        again = bootstrap.resampled_rate(amounts, lengths, seed=0)
        again = again * (value / (amounts.sum() / lengths.sum()))
        return Estimate(
            value, len(rows), len(spans), float(again.std()), bootstrap.kept(again), doubt=self._rate_doubt()
        )

    def _rate_doubt(self) -> str | None:
        seconds, late = len(self._run.frames.samples["client"]), len(self._run.overloaded)
        if seconds and late / seconds > OVERLOADED:
            return f"the load generator was overloaded in {late} of {seconds} seconds"
        return None


def _quantiles(
    of: str, via: str, metric: str, ms: np.ndarray, block: np.ndarray, touched: int, at: tuple[str, ...]
) -> Iterator[Sample]:
    if not len(ms):
        return
    again = bootstrap.resampled_quantiles(ms, block, [quantiles.QUANTILES[q] for q in at], seed=0)
    ordered = np.sort(ms)
    values = quantiles.quantiles(pd.Series(ms))
    medians = pd.Series(ms).groupby(block).median()
    for name, drawn in zip(at, again, strict=True):
        value = values[name]
        assert value is not None
        low, high = touched_bounds(ordered, touched, quantiles.QUANTILES[name])
        estimate = Estimate(
            value, len(ms), len(medians), float(drawn.std()), bootstrap.kept(drawn),
            tuple(float(m) for m in medians) if name == "p50" else (), low, high, NEEDS[name],
        )  # fmt: skip
        yield Sample(metric, name, of, via, "ms", estimate)


def touched_bounds(ordered: np.ndarray, touched: int, q: float) -> tuple[float, float | None]:
    """The quantile with all touched answers taken as 0, and as infinite (None: the quantile is infinite too)."""
    at = rank(len(ordered) + touched, q)
    low = float(ordered[at - touched]) if at >= touched else 0.0
    return low, float(ordered[at]) if at < len(ordered) else None


def _overhead(run: Evidence) -> Iterator[Sample]:
    for column in ("ttft_ms", "latency_ms"):
        found = overhead.overhead(run.pairs, column)
        if found is None:
            continue
        again = overhead.resampled_medians(run.pairs, column)
        estimate = Estimate(
            found.ms, found.pairs, found.pairs, float(again.std()), bootstrap.kept(again), needs=MIN_PAIRS
        )
        yield Sample(f"overhead_{column.removesuffix('_ms')}", "median", ALL, GATEWAY, "ms", estimate)


def _trials(run: Evidence) -> Iterator[Sample]:
    """By step, from the rows of failover.csv: missing values there were not seen, or are in doubt."""
    if not run.trials:
        return
    table = tables.failovers(run)
    for step, rows in table.groupby("step", sort=False):
        trials = [t for t in run.trials if t.step == step]
        # Without an answer: the time until the trial ended. Without a seen end of a gap: its lower bound.
        lasted_s = pd.Series([t.gone_until for t in trials], index=rows.index) - rows["lost_at"].astype(float)
        unanswered = rows["first_answer_by"].isna() & rows["lost_at"].notna()
        used = pd.Series(
            [outages.was_in_use(run.around(t), t, run.frames.ranks) is not False for t in trials], rows.index
        )
        known = {
            "failover": (rows["failover_s"].fillna(lasted_s.where(unanswered)), unanswered),
            "gap_new": _gap(rows, "new"),
            "gap_kept": _gap(rows, "kept"),
            "recovery": (rows["recovery_s"], rows["recovery_censored"].eq(True)),
            "unavailability": (rows["unavailable_s"], pd.Series(False, rows.index)),
        }
        for metric, (values, censored) in known.items():
            values = values.astype("float64")
            if metric in ("failover", *GAPS):  # a tier that was not in use has no failover
                values = values.where(used)
            number = _values(values, censored)
            if number is not None:
                yield Sample(metric, "median", str(step), "", "s", number)
        counted = _values((rows["cuts"] + rows["stalls"]).astype("float64"), pd.Series(False, rows.index))
        if counted is not None:
            yield Sample("cuts", "median", str(step), GATEWAY, "answers", counted)


def _gap(rows: pd.DataFrame, lane: str) -> tuple[pd.Series, pd.Series]:
    upper, lower = (
        rows[f"gap_{lane}_upper_s"].astype("float64"),
        rows[f"gap_{lane}_lower_s"].astype("float64"),
    )
    return upper.fillna(lower), upper.isna() & lower.notna()


def _values(values: pd.Series, censored: pd.Series) -> Trials | None:
    seen = values.notna()
    if not seen.any():
        return None
    return Trials(
        tuple(float(v) for v in values[seen]), tuple(bool(c) for c in censored[seen]), int((~seen).sum())
    )


def _proportions(run: Evidence) -> Iterator[Sample]:
    """Of users' requests: good answers, and each kind of failure; of all answers through the gateway: those a lower tier gave
    needlessly; of the arrivals of an open loop: those dropped; of documents: those classified correctly."""
    users = shares.users_requests(run.frames.requests)
    if not users.empty:
        yield from _outcomes(run, users)
    yield from _needless(run)
    for of in run.documents:
        if of.answered:
            yield Sample(
                "documents_right", "share", of.tier, GATEWAY, "share", Proportion(of.right, of.answered)
            )
    if run.delivered.dropped or (run.frames.open_loop and run.delivered.scheduled):
        client = run.frames.samples["client"]
        number = _proportion(run, client["at"], client["dropped"], client["scheduled"])
        yield Sample("dropped", "share", ALL, GATEWAY, "share", number)


def _outcomes(run: Evidence, users: pd.DataFrame) -> Iterator[Sample]:
    apart = [*cuts.CUTS, Outcome.ABANDONED]
    waited_for = users["outcome"] != Outcome.ABANDONED
    for metric, share, hit, total in (
        ("continuity", shares.continuity(users).good, users["good"], ~users["outcome"].isin(apart)),
        ("goodput", shares.goodput(users, run.ttft_max_ms), shares.within(users, run.ttft_max_ms), waited_for),
    ):  # fmt: skip
        if share.total:
            effect = _proportion(run, users["scheduled_at"], hit & total, total).design_effect
            number = Proportion(share.hits, share.total, effect, share.doubtful)
            yield Sample(metric, "share", ALL, GATEWAY, "share", number)
    if waited_for.any():
        for outcome in FAILED:
            hit = users["outcome"] == outcome
            number = _proportion(run, users["scheduled_at"], hit, waited_for)
            doubtful = int((hit & users["touched"]).sum()) if outcome in LATE else 0
            yield Sample(outcome, "share", ALL, GATEWAY, "share", replace(number, doubtful=doubtful))


def _needless(run: Evidence) -> Iterator[Sample]:
    """Counted as the leaks of `cloud_only_in_need`, for every tier below another."""
    frames, ranks = run.frames, run.frames.ranks
    answered = frames.requests.loc[
        frames.through_gateway & frames.requests["tier"].notna().to_numpy(bool), "sent_at"
    ]
    if answered.empty:
        return
    spurious = run.lower[run.lower["why"] == attribution.Why.SPURIOUS]
    for tier in (t for peers in ranks[1:] for t in peers):
        at = pd.concat([answered, spurious.loc[spurious["tier"] == tier, "sent_at"]], ignore_index=True)
        of = pd.Series(np.arange(len(at)) < len(answered))
        yield Sample("needless_answers", "share", tier, GATEWAY, "share", _proportion(run, at, ~of, of))


def _proportion(run: Evidence, at: pd.Series, hits: pd.Series, total: pd.Series) -> Proportion:
    """Hits of the total (rows at these instants), with the design effect over blocks of time."""
    frames = run.frames
    length_s = bootstrap.block_s(frames.ended_at - frames.started_at, 0.0)
    place = np.floor((at.to_numpy(float) - frames.started_at) / length_s).astype(int)
    place -= min(0, int(place.min(initial=0)))
    hits_of, total_of = (np.bincount(place, weights=of.to_numpy(float)) for of in (hits, total))
    kept_ = total_of > 0
    effect = bootstrap.design_effect(hits_of[kept_], total_of[kept_])
    return Proportion(int(hits_of.sum()), int(total_of.sum()), effect)

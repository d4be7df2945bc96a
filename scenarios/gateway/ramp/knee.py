"""Finds the knee of a stack: the highest arrival rate within the objective. Pure; shapes/ramp.py makes the load."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from contract.quantile import quantile
from contract.records import OVERLOADED_CPU_PERCENT, OVERLOADED_LAG_MS, Outcome

LEAST_GOOD = 0.99
# Above this share of overloaded seconds, this process itself may have caused a miss.
MOST_OVERLOADED = 0.2


@dataclass(frozen=True, slots=True)
class Range:
    """Rates per second: first, highest, and the factor between two rates."""

    start: float
    most: float
    factor: float


@dataclass(frozen=True, slots=True)
class RateStep:
    """Measurements of one rate, held for a while. Latencies count from the scheduled time."""

    rate: float  # per second, mean
    scheduled: int  # arrivals that were due
    dropped: int  # of these: dropped by the cap on requests in flight
    delivered: float  # requests sent per second
    ttft_p50_ms: float | None  # of good streamed answers; None: there were none
    ttft_p99_ms: float | None
    good: float  # share of scheduled requests with a good answer within the objective
    in_flight: int  # at the end of the step, before waiting for requests in flight
    overloaded: float  # share of seconds in which this process was overloaded
    in_flight_little: float | None = None  # requests ended per second × mean latency from the scheduled time
    in_flight_mean: float | None = None  # counted once a second
    tokens_per_s: float | None = None  # of good answers, from the first arrival to the end of the last answer
    # Gauges of the target engine, once a second; None: not available.
    kv_cache: float | None = None  # maximum, as a share
    running: float | None = None  # mean
    waiting: float | None = None  # maximum


class Bound(StrEnum):
    """The meaning of an answer's rate."""

    HIGHEST = "highest"  # the next one missed the objective
    AT_LEAST = "at_least"  # the range ended before the objective was missed
    NONE = "none"  # the first rate missed it; there is no rate
    UNKNOWN_BEYOND = "unknown_beyond"  # this process may have caused the miss


@dataclass(frozen=True, slots=True)
class Answer:
    bound: Bound
    rate: float | None  # the highest rate within the objective; None: there is none
    why: str


@dataclass(frozen=True, slots=True)
class Next:
    """The rate to hold next."""

    rate: float


def decide(steps: Sequence[RateStep], rates: Range, objective_ms: float) -> Next | Answer:
    """The next rate to hold, or the answer. A rate that missed is held once more: a single bad step is not a knee.

    A step in which this process was overloaded can be within the objective, because lateness only makes latencies longer.
    If such a step missed, the cause is unknown.
    """
    if not steps:
        return Next(rates.start)
    last = steps[-1]
    missed = miss(last, objective_ms)
    if missed is None:
        if last.rate >= rates.most:
            return Answer(Bound.AT_LEAST, last.rate, f"the range ends at {rates.most:g}/s")
        return Next(min(rates.most, last.rate * rates.factor))
    if len(steps) < 2 or steps[-2].rate != last.rate:
        return Next(last.rate)
    within = [s.rate for s in steps if miss(s, objective_ms) is None]
    highest = max(within, default=None)
    late = max(steps[-2].overloaded, last.overloaded)
    if late > MOST_OVERLOADED:
        why = f"at {last.rate:g}/s this load generator itself was overloaded in {late:.0%} of the seconds ({missed})"
        return Answer(Bound.UNKNOWN_BEYOND, highest, why)
    why = f"objective missed twice at {last.rate:g}/s: {missed}"
    return Answer(Bound.HIGHEST if within else Bound.NONE, highest, why)


def miss(step: RateStep, objective_ms: float) -> str | None:
    """Why a step is not within the objective; None: it is."""
    if step.dropped:
        return f"the cap on requests in flight dropped {step.dropped} of {step.scheduled} arrivals"
    if step.ttft_p99_ms is not None and step.ttft_p99_ms > objective_ms:
        return f"p99 TTFT {step.ttft_p99_ms / 1000:.2f} s > {objective_ms / 1000:g} s"
    if step.good < LEAST_GOOD:
        return f"{step.good:.1%} good and within the objective < {LEAST_GOOD:.0%}"
    return None


def summarise(
    rate: float, held_s: float, scheduled: int, dropped: int, in_flight: int, objective_ms: float,
    requests: Sequence[Mapping[str, Any]], seconds: Sequence[Mapping[str, Any]], gauges: Sequence[Mapping[str, Any]] = (),
) -> RateStep:  # fmt: skip
    """A step from its requests' records, and the rows of the client and of the engine's gauges.

    A request without a record was not answered. For an answer that shows no token, its end counts as its first token.
    """
    first_ms = [a["latency_ms"] if a["ttft_ms"] is None else a["ttft_ms"] for a in requests]
    waited_ms = [
        None if a["outcome"] != Outcome.OK else (a["sent_at"] - a["scheduled_at"]) * 1000 + ms
        for a, ms in zip(requests, first_ms, strict=True)
    ]  # fmt: skip
    good = sum(ms is not None and ms <= objective_ms for ms in waited_ms)
    streamed = [ms for a, ms in zip(requests, waited_ms, strict=True) if ms is not None and a["stream"]]
    late = sum(
        s["cpu_percent"] > OVERLOADED_CPU_PERCENT or s["hub_lag_ms"] > OVERLOADED_LAG_MS for s in seconds
    )
    ended_at = [None if a["latency_ms"] is None else a["sent_at"] + a["latency_ms"] / 1000 for a in requests]
    took_s = [end - a["scheduled_at"] for a, end in zip(requests, ended_at, strict=True) if end is not None]
    good_until = [e for e, ms in zip(ended_at, waited_ms, strict=True) if ms is not None and e is not None]
    tokens = [a["output_tokens"] for a, ms in zip(requests, waited_ms, strict=True) if ms is not None]
    span_s = max(good_until) - min(a["scheduled_at"] for a in requests) if good_until else 0.0
    known = None not in tokens and span_s > 0
    return RateStep(
        rate=rate, scheduled=scheduled, dropped=dropped, delivered=(scheduled - dropped) / held_s,
        ttft_p50_ms=quantile(streamed, 0.5), ttft_p99_ms=quantile(streamed, 0.99),
        good=good / scheduled if scheduled else 0.0, in_flight=in_flight, overloaded=late / len(seconds) if seconds else 0.0,
        in_flight_little=sum(took_s) / held_s if took_s else None, in_flight_mean=_mean([s["in_flight"] for s in seconds]),
        tokens_per_s=sum(tokens) / span_s if known else None,
        kv_cache=max(_known([g["kv_cache"] for g in gauges]), default=None), running=_mean(_known([g["running"] for g in gauges])),
        waiting=max(_known([g["waiting"] for g in gauges]), default=None),
    )  # fmt: skip


def _known(values: Sequence[float | None]) -> list[float]:
    return [v for v in values if v is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


HEADING = "    rate        sent  p50 TTFT  p99 TTFT    good  in flight dropped  overloaded"


def row(step: RateStep) -> str:
    """A step as one line under HEADING."""
    return (
        f"{step.rate:>6.2f}/s  {step.delivered:>8.2f}/s  {_s(step.ttft_p50_ms):>8}  {_s(step.ttft_p99_ms):>8}  "
        f"{step.good:>6.1%}  {step.in_flight:>9} {step.dropped:>7}  {step.overloaded:>10.0%}"
    )


def describe(answer: Answer, objective_ms: float) -> str:
    """The answer as a sentence."""
    objective = f"p99 TTFT {objective_ms / 1000:g} s, {LEAST_GOOD:.0%} good"
    rate = "none" if answer.rate is None else f"{answer.rate:g}/s"
    first = {
        Bound.HIGHEST: f"highest rate within the objective ({objective}): {rate}",
        Bound.AT_LEAST: f"highest rate within the objective ({objective}): at least {rate}",
        Bound.NONE: f"no rate is within the objective ({objective})",
        Bound.UNKNOWN_BEYOND: f"highest rate within the objective ({objective}): {rate}; unknown beyond",
    }[answer.bound]
    return f"{first}. Stopped: {answer.why}."


def _s(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1000:.2f} s"

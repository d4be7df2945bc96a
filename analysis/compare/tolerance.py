"""How much a metric may get worse before it counts as worse: `10%`, or by metric, `10%,failover=0.5s,ttft=20%`. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from contract import duration
from contract.refusal import Refusal, no_such

# The names in tolerances: each metric, and GROUPS of several.
LENGTHS_MS = (
    "latency",
    "latency_from_schedule",
    "ttft",
    "chunk_gap",
    "tpot",
    "overhead_ttft",
    "overhead_latency",
)
LENGTHS_S = ("failover", "gap_new", "gap_kept", "recovery", "unavailability")
GOOD = ("continuity", "goodput", "documents_right")  # proportions: higher is better
BAD = (
    "needless_answers",
    "refused",
    "rejected",
    "filtered",
    "broken",
    "cut",
    "stalled",
    "timeout",
    "dropped",
)  # lower is better
PROPORTIONS = (*GOOD, *BAD)
RATES = ("tokens_per_s", "answers_per_s")
COUNTS = ("cuts",)
METRICS = (*LENGTHS_MS, *LENGTHS_S, *PROPORTIONS, *RATES, *COUNTS)
GROUPS = {
    "overhead": ("overhead_ttft", "overhead_latency"),
    "gap": ("gap_new", "gap_kept"),
    "throughput": RATES,
}
DEFAULT, DEFAULT_POINTS = 0.10, 0.01


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A `share` of the baseline's value, or an `amount` in the metric's unit; one of them is None."""

    share: float | None
    amount: float | None
    text: str

    def of(self, value: float) -> float:
        """The tolerance for a baseline of this value."""
        return abs(value) * self.share if self.share is not None else float(self.amount or 0)


Tolerances = dict[str, Tolerance]


RENAMED = {"latency_from_intended": "latency_from_schedule", "capped": "dropped"}


def parse(text: str) -> Tolerances:
    """Metric → its tolerance. A bare `10%` applies to all metrics except proportions, which have one percentage point (`1pp`)
    unless named: a tenth of 99 % would allow almost anything. Raises Refusal."""
    general, named = _percent(f"{DEFAULT:.0%}"), {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        word, equals, value = (x.strip() for x in part.partition("="))
        try:
            if not equals:
                general = _percent(word)
                continue
            for metric in _metrics(word):
                named[metric] = _one(metric, value)
        except ValueError as e:
            raise Refusal(f"--tolerance {part}: {e}") from None
    point = Tolerance(None, DEFAULT_POINTS, f"{DEFAULT_POINTS * 100:g}pp")
    return {m: named.get(m, point if m in PROPORTIONS else general) for m in METRICS}


def _metrics(word: str) -> Iterator[str]:
    if word in RENAMED:
        raise ValueError(f"{word!r} is {RENAMED[word]!r} now")
    if word not in METRICS and word not in GROUPS:
        raise ValueError(no_such("metric", word, [*METRICS, *GROUPS]))
    yield from GROUPS.get(word, (word,))


def _percent(text: str) -> Tolerance:
    if not text.endswith("%"):
        raise ValueError(f"{text!r} is not a percentage; write it like 10%, or name a metric: failover=0.5s")
    return Tolerance(_number(text.removesuffix("%")) / 100, None, text)


def _one(metric: str, text: str) -> Tolerance:
    if metric in PROPORTIONS:
        if not text.endswith("pp"):
            raise ValueError(f"{text!r}: write percentage points, like 1pp")
        return Tolerance(None, _number(text.removesuffix("pp")) / 100, text)
    if text.endswith("%"):
        return _percent(text)
    if metric in COUNTS or metric in RATES:
        return Tolerance(None, _number(text), text)
    seconds = duration.parse(text)
    return Tolerance(None, seconds * 1000 if metric in LENGTHS_MS else seconds, text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{text!r} is not a number from 0 on")
    return number

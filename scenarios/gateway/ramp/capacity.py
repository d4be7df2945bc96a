"""The results of a ramp as one table: for each target the highest rate, and the engine's load at it. Pure."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from contract.spreadsheet import line_cell
from scenarios.gateway.ramp.knee import Answer, Bound, RateStep, miss


@dataclass(frozen=True, slots=True)
class Ramped:
    """One target: `gateway` or a tier, its steps, and the answer. None: there is no answer yet."""

    via: str
    steps: list[RateStep]
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """A row of capacity.csv. Fields after `why` are of the knee: the last step within the objective at the highest rate."""

    via: str
    bound: Bound | None  # None: the ramp was cut short
    rate: float | None  # requests per second
    why: str  # why the ramp ended
    in_flight_little: float | None = None  # by Little's law
    in_flight: float | None = None  # as measured
    tokens_per_s: float | None = None
    kv_cache: float | None = None
    running: float | None = None
    waiting: float | None = None


def of(ramped: Ramped, objective_ms: float) -> Capacity:
    """The row of one target."""
    answer = ramped.answer
    if answer is None:
        return Capacity(ramped.via, None, None, "cut short")
    within = [s for s in ramped.steps if s.rate == answer.rate and miss(s, objective_ms) is None]
    if not within:
        return Capacity(ramped.via, answer.bound, answer.rate, answer.why)
    knee = within[-1]
    return Capacity(
        ramped.via, answer.bound, answer.rate, answer.why, knee.in_flight_little, knee.in_flight_mean, knee.tokens_per_s,
        knee.kv_cache, knee.running, knee.waiting,
    )  # fmt: skip


def text(rows: Sequence[Capacity]) -> str:
    """The table for a terminal. A dash: unknown."""
    head = (
        "via", "highest rate", "in flight: rate × latency", "measured", "tokens/s", "KV cache", "running", "waiting"
    )  # fmt: skip
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in cells
    )  # fmt: skip


def table(rows: Sequence[Capacity]) -> str:
    """capacity.csv; unknown values are empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(Capacity.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: line_cell(value) for name, value in asdict(row).items()} for row in rows)
    return out.getvalue()


def _cells(row: Capacity) -> tuple[str, ...]:
    rate = "none" if row.rate is None else f"{row.rate:.3g}/s"
    found = rate
    if row.bound is None or (row.bound is Bound.UNKNOWN_BEYOND and row.rate is None):
        found = "unknown"
    elif row.bound is Bound.AT_LEAST:
        found = f"at least {rate}"
    elif row.bound is Bound.UNKNOWN_BEYOND:
        found = f"{rate}, unknown beyond"
    numbers = [
        *(_number(v, "{:.1f}") for v in (row.in_flight_little, row.in_flight)), _number(row.tokens_per_s, "{:.0f}"),
        _number(row.kv_cache, "{:.1%}"), _number(row.running, "{:.1f}"), _number(row.waiting, "{:.0f}"),
    ]  # fmt: skip
    return (row.via, found, *numbers)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)

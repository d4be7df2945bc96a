"""The knee: the next rate, when the answer is known, and the text if it is unknown."""

from dataclasses import replace

import pytest

from scenarios.gateway.ramp.knee import Answer, Bound, Next, Range, RateStep, decide, describe, row, summarise

RATES = Range(start=2, most=32, factor=2)
OBJECTIVE_MS = 2000.0


def _step(rate: float, p99_ms: float | None = 300.0, **more) -> RateStep:
    good = more.pop("good", 1.0 if p99_ms is not None and p99_ms <= OBJECTIVE_MS else 0.9)
    return RateStep(
        rate, scheduled=100, delivered=rate, ttft_p50_ms=200.0, ttft_p99_ms=p99_ms, good=good, in_flight=3,
        **({"dropped": 0, "overloaded": 0.0} | more),
    )  # fmt: skip


def _slow(rate: float, **more) -> RateStep:
    return _step(rate, 2400.0, **more)


TABLE = {
    "nothing yet": ([], Next(2)),
    "within": ([_step(2)], Next(4)),
    "a miss is tried again": ([_step(2), _slow(4)], Next(4)),
    "one unlucky step, then fine": ([_step(2), _slow(4), _step(4)], Next(8)),
    "the range's end is not passed": ([_step(20)], Next(32)),
    "a clean knee": (
        [_step(2), _step(4), _step(8), _slow(16), _slow(16)],
        Answer(Bound.HIGHEST, 8, "objective missed twice at 16/s: p99 TTFT 2.40 s > 2 s"),
    ),
    "unlucky at first, and a knee later": (
        [_slow(2), _step(2), _slow(4), _slow(4)],
        Answer(Bound.HIGHEST, 2, "objective missed twice at 4/s: p99 TTFT 2.40 s > 2 s"),
    ),
    "never saturated in the range": (
        [_step(8), _step(16), _step(32)],
        Answer(Bound.AT_LEAST, 32, "the range ends at 32/s"),
    ),
    "saturated at the first step": (
        [_slow(2), _slow(2)],
        Answer(Bound.NONE, None, "objective missed twice at 2/s: p99 TTFT 2.40 s > 2 s"),
    ),
    "goodput": (
        [_step(2), _step(4, good=0.97), _step(4, good=0.95)],
        Answer(Bound.HIGHEST, 2, "objective missed twice at 4/s: 95.0% good and within the objective < 99%"),
    ),
    "nothing was answered": (
        [_step(2, None, good=0.0), _step(2, None, good=0.0)],
        Answer(Bound.NONE, None, "objective missed twice at 2/s: 0.0% good and within the objective < 99%"),
    ),
    "the cap": (
        [_step(2), _step(4, dropped=7), _step(4, dropped=9)],
        Answer(Bound.HIGHEST, 2, "objective missed twice at 4/s: the cap on requests in flight dropped 9 of 100 arrivals"),
    ),
    "the client was overloaded first": (
        [_step(2), _step(4), _slow(8, overloaded=0.6), _slow(8, overloaded=0.5)],
        Answer(Bound.UNKNOWN_BEYOND, 4, "at 8/s this load generator itself was overloaded in 60% of the seconds "
                                        "(p99 TTFT 2.40 s > 2 s)"),
    ),
    "the client was overloaded from the first step on": (
        [_slow(2, overloaded=0.9), _slow(2, overloaded=0.9)],
        Answer(Bound.UNKNOWN_BEYOND, None, "at 2/s this load generator itself was overloaded in 90% of the seconds "
                                           "(p99 TTFT 2.40 s > 2 s)"),
    ),
    "an overloaded client that is still within the objective": ([_step(2, overloaded=0.9)], Next(4)),
    "a hiccup of the client": (
        [_step(2), _slow(4, overloaded=0.1), _slow(4)],
        Answer(Bound.HIGHEST, 2, "objective missed twice at 4/s: p99 TTFT 2.40 s > 2 s"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_what_is_held_next_or_the_answer(case):
    steps, found = TABLE[case]
    assert decide(steps, RATES, OBJECTIVE_MS) == found


def _record(
    wait_s: float = 0.0, ttft_ms: float | None = 100.0, outcome: str = "ok", stream: bool = True
) -> dict:
    return {
        "scheduled_at": 10.0,
        "sent_at": 10.0 + wait_s,
        "ttft_ms": ttft_ms,
        "outcome": outcome,
        "stream": stream,
        "latency_ms": None if ttft_ms is None else 400.0,
        "output_tokens": 8,
    }


def test_a_step_counts_from_the_schedule_and_counts_failures_and_missing_answers_as_misses():
    requests = [
        *[_record()] * 94,
        _record(wait_s=3.0),  # sent late: the wait counts
        _record(outcome="cut"),
        _record(ttft_ms=None, outcome="timeout"),
        _record(ttft_ms=900.0, stream=False),
    ]
    calm, busy, late = (
        {"cpu_percent": c, "hub_lag_ms": h, "in_flight": 4} for c, h in ((10, 1), (90, 1), (10, 30))
    )
    found = summarise(10, 10.0, 102, 2, 5, OBJECTIVE_MS, requests, [calm, calm, busy, late])
    assert found.ttft_p50_ms == pytest.approx(100)
    assert found.ttft_p99_ms == pytest.approx(3100)
    assert found.good == 95 / 102
    assert (found.delivered, found.dropped, found.in_flight, found.overloaded) == (10.0, 2, 5, 0.5)


def test_the_end_of_an_answer_without_a_shown_token_counts_as_its_first_token():
    requests = [_record(ttft_ms=None) | {"latency_ms": ms} for ms in (300.0, 2500.0)]
    found = summarise(2, 10.0, 2, 0, 0, OBJECTIVE_MS, requests, [])
    assert (found.good, found.ttft_p99_ms) == (0.5, pytest.approx(2500))


def test_a_step_without_an_answer_has_no_ttft():
    found = summarise(2, 10.0, 20, 0, 20, OBJECTIVE_MS, [], [])
    assert (found.ttft_p50_ms, found.ttft_p99_ms, found.good) == (None, None, 0.0)
    assert "–" in row(found)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(Bound.HIGHEST, 8, "x"), "highest rate within the objective (p99 TTFT 2 s, 99% good): 8/s. Stopped: x."),
        (Answer(Bound.AT_LEAST, 32, "x"), ": at least 32/s. Stopped: x."),
        (Answer(Bound.NONE, None, "x"), "no rate is within the objective (p99 TTFT 2 s, 99% good). Stopped: x."),
        (Answer(Bound.UNKNOWN_BEYOND, 4, "x"), ": 4/s; unknown beyond. Stopped: x."),
        (Answer(Bound.UNKNOWN_BEYOND, None, "x"), ": none; unknown beyond. Stopped: x."),
    ],
)  # fmt: skip
def test_the_answer_as_a_sentence(answer, words):
    assert words in describe(answer, OBJECTIVE_MS)


def test_a_row_stands_under_its_heading():
    assert row(replace(_step(12), delivered=9.1)).split() == [
        "12.00/s", "9.10/s", "0.20", "s", "0.30", "s", "100.0%", "3", "0", "0%",
    ]  # fmt: skip

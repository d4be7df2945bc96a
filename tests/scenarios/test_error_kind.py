"""Locust's table of errors does not grow with the texts of a server."""

import random
import string
import subprocess
import sys

import pytest

from contract.records import Outcome, RequestRecord
from scenarios.gateway.error_kind import kind


def record(outcome: str, status: int | None = None, error: str | None = None) -> RequestRecord:
    return RequestRecord(
        "req-1", "chat", "load", "gateway", True, 0.0, outcome=outcome, status=status, error=error
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (record("rejected", 503, "503: away, request 8f3a"), "rejected: 503"),
        (
            record("rejected", 429, "429: No deployments available for selected model"),
            "rejected: 429, all in cooldown",
        ),
        (record("rejected", 429, "429: slow down"), "rejected: 429"),
        (record("rejected", 999, "999: x"), "rejected: another status"),
        (record("filtered", 400, "400: content_filter"), "filtered: 400"),
        (record("filtered", 200, "finish_reason content_filter"), "filtered: another status"),
        (
            record("refused", None, "ConnectionRefusedError: [Errno 111] to 10.0.0.7"),
            "refused: ConnectionRefusedError",
        ),
        (record("timeout", None, "no first token in 60 s"), "timeout: no first token"),
        (record("stalled", 200, "silent for 30 s"), "stalled: silent for"),
        (record("cut", 200, "connection closed"), "cut: connection closed"),
        (record("cut", 200, "finish_reason stop at 3 of 10 tokens"), "cut: finish_reason"),
        (record("cut", 200, "engine 7 died at 0x7f"), "cut: an error of the server"),
        (record("broken", 302, "status 302, a redirect to http://h/17"), "broken: status 302"),
        (record("broken", None, "headers of more than 64 KiB"), "broken: headers of more than"),
        (record("abandoned"), "abandoned"),
    ],
)
def test_an_error_is_told_by_its_kind(found, expected):
    assert kind(found) == expected


def test_ten_thousand_different_errors_are_few_kinds():
    drawn, kinds = random.Random(7), set()
    for _ in range(10_000):
        words = "".join(drawn.choices(string.printable, k=40))
        begin = drawn.choice(["", "connection closed ", "finish_reason ", "status ", "503: ", "OSError: "])
        status = drawn.choice([None, drawn.randrange(100, 1000)])
        kinds.add(kind(record(drawn.choice(list(Outcome)), status, begin + words)))
    assert len(kinds) < 1000
    assert all(len(text) < 60 for text in kinds)


# Importing Locust patches the standard library, which must not happen in the test process.
CODE = """
from locust.stats import RequestStats
from scenarios.gateway.user import OutcomeError
from contract.records import RequestRecord
stats = RequestStats()
for n in range(1000):
    error = OutcomeError(RequestRecord("r", "chat", "load", "gateway", True, 0.0, outcome="cut", error=f"engine {n} died"))
    assert error.error == f"engine {n} died"
    stats.log_error("chat", "gateway", error)
print([(one.occurrences, repr(one.error)) for one in stats.errors.values()])
"""


def test_locusts_own_table_has_one_row_for_errors_of_one_kind():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.stdout.strip() == """[(1000, "OutcomeError('cut: an error of the server')")]""", done.stderr

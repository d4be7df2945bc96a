"""The client's own retries, as openai-node makes them."""

from email.utils import formatdate

import pytest

from contract.records import Outcome, RequestRecord
from scenarios.gateway.retries import is_retried, wait_s

NOW = 1_795_000_000.0
AGAIN = [
    # outcome, status, headers, whether the client retries
    (Outcome.OK, 200, {}, False),
    (Outcome.CUT, 200, {}, False),
    (Outcome.BROKEN, 200, {}, False),
    (Outcome.STALLED, 200, {}, False),
    (Outcome.OK, 200, {"x-should-retry": "true"}, False),
    (Outcome.REFUSED, None, {}, True),
    (Outcome.BROKEN, None, {}, True),
    (Outcome.TIMEOUT, None, {}, True),
    (Outcome.ABANDONED, None, {}, False),
    (Outcome.REJECTED, 400, {}, False),
    (Outcome.FILTERED, 400, {}, False),
    (Outcome.REJECTED, 401, {}, False),
    (Outcome.REJECTED, 408, {}, True),
    (Outcome.REJECTED, 409, {}, True),
    (Outcome.REJECTED, 429, {}, True),
    (Outcome.REJECTED, 500, {}, True),
    (Outcome.REJECTED, 503, {}, True),
    (Outcome.REJECTED, 503, {"x-should-retry": "false"}, False),
    (Outcome.REJECTED, 400, {"x-should-retry": "true"}, True),
    (Outcome.REJECTED, 400, {"x-should-retry": "maybe"}, False),
]


@pytest.mark.parametrize(("outcome", "status", "headers", "again"), AGAIN)
def test_what_is_retried(outcome, status, headers, again):
    record = RequestRecord("req-1", "classify", "load", "gateway", False, NOW, outcome=outcome, status=status)
    assert is_retried(record, headers) is again


WAITS = [
    # retry, headers, drawn, seconds
    (0, {}, 0.0, 0.5),
    (1, {}, 0.0, 1.0),
    (0, {}, 1.0, 0.375),
    (3, {}, 0.0, 4.0),
    (9, {}, 0.0, 8.0),
    (1, {"retry-after": "3"}, 0.5, 3.0),
    (1, {"retry-after": "0"}, 0.5, 0.0),
    (0, {"retry-after": "59.9"}, 0.0, 59.9),
    (0, {"retry-after": "60"}, 0.0, 0.5),
    (0, {"retry-after": "-1"}, 0.0, 0.5),
    (0, {"retry-after": "soon"}, 0.0, 0.5),
    (0, {"retry-after": "inf"}, 0.0, 0.5),
    (0, {"retry-after-ms": "250", "retry-after": "3"}, 0.0, 0.25),
    (0, {"retry-after": formatdate(NOW + 5, usegmt=True)}, 0.0, 5.0),
    (0, {"retry-after": formatdate(NOW - 5, usegmt=True)}, 0.0, 0.5),
]


@pytest.mark.parametrize(("retry", "headers", "drawn", "seconds"), WAITS)
def test_how_long_it_waits(retry, headers, drawn, seconds):
    assert wait_s(retry, headers, NOW, drawn) == pytest.approx(seconds)

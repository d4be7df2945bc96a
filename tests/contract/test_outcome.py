"""What an ask's record says of an exchange: how it was lost, who served, what the gateway told."""

import pytest

from contract.framing import End, Exchange
from contract.outcome import judge
from contract.proper_end import AT_CAP, UNKNOWN
from contract.records import Outcome, Witness
from tests.contract.exchanges import (
    CAP,
    DONE,
    WHOLE,
    finish,
    head,
    received,
    recorded,
    streamed,
    token,
)

LOST = [
    # how the wire saw it end, tokens?, outcome
    (End.REFUSED, False, Outcome.REFUSED),
    (End.LATE, False, Outcome.TIMEOUT),
    (End.SILENT, False, Outcome.TIMEOUT),
    (End.SILENT, True, Outcome.STALLED),
    (End.LATE, True, Outcome.STALLED),
    (End.STOPPED, False, Outcome.ABANDONED),
    (End.STOPPED, True, Outcome.ABANDONED),
    (End.CLOSED, False, Outcome.BROKEN),
    (End.CLOSED, True, Outcome.CUT),
]


@pytest.mark.parametrize(("end", "tokens", "outcome"), LOST)
def test_an_exchange_that_was_lost(end, tokens, outcome):
    exchange, framing = received((1.0, streamed(token(), last=False))) if tokens else received()
    framing.given_up(end, 2.0, "why")
    ask = recorded(exchange)
    assert (ask.outcome, ask.error, ask.latency_ms) == (outcome, "why", 2000.0)


def test_headers_name_the_tier_on_a_200_only():
    headers = (
        "x-litellm-model-group: a",
        "x-litellm-attempted-fallbacks: 1",
        "x-litellm-attempted-retries: 0",
    )
    good = recorded(received((1.0, head("200 OK", *headers) + b"".join(WHOLE)), closed_at=2.0)[0])
    bad = recorded(received((1.0, head("500 No", *headers)), closed_at=2.0)[0])
    assert (good.tier, good.route_group, good.route_fallbacks, good.route_retries) == ("a", "a", 1, 0)
    assert (bad.tier, bad.route_group) == (None, "a")


@pytest.mark.parametrize("count", ["", "-1", "1.5", "²", "99999999", "many"])
def test_a_header_that_is_no_small_number_is_nobody_told_us(count):
    raw = head("200 OK", "x-litellm-attempted-fallbacks: ") [:-4] + count.encode("latin-1") + b"\r\n\r\n"  # fmt: skip
    assert recorded(received((1.0, raw), closed_at=2.0)[0]).route_fallbacks is None


def test_an_ask_without_a_witness_says_so():
    exchange, _ = received((1.0, streamed(token(), finish("stop"), DONE)))
    ask = recorded(exchange, proper_end=UNKNOWN)
    assert (ask.outcome, ask.witness) == (Outcome.OK, Witness.NONE)


def test_an_exchange_is_not_judged_before_its_end():
    with pytest.raises(AssertionError, match="after its end"):
        judge(Exchange(), None, CAP, AT_CAP)


@pytest.mark.parametrize(
    ("told", "found"),
    [("8.1", 8.1), ("0", 0.0), ("", None), ("-1", None), ("nan", None), ("inf", None), ("x", None)],
)
def test_the_gateways_own_overhead_is_kept_as_told_or_not_at_all(told, found):
    raw = head("200 OK", f"x-litellm-overhead-duration-ms: {told}")
    assert recorded(received((1.0, raw), closed_at=2.0)[0]).route_overhead_ms == found

"""Failovers, outages, recoveries and their gaps, derived from a sequence of requests."""

import pytest

from chaos.watch.changes import Outage
from chaos.watch.lineup import Lineup
from tests.chaos.watched import Replay, bad, request

WELL = [request(0, "vllm"), request(3, "vllm")]
OUTAGE = "OUTAGE: no answer since 00:00:06 (#3: 500: boom)"


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("requests", "banners"),
    [
        # all is well
        (WELL, []),
        # the first tier hangs for its timeout of 3 s, then the second one answers
        (
            [*WELL, request(6, "ollama", 3.5, 3.1)],
            ["FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)"],
        ),
        # the same, and the second tier is a reasoning model that shows no token: it answered when its answer ended
        (
            [*WELL, request(6, "ollama", 3.5, ttft_ms=None)],
            ["FAILOVER vllm → ollama after 3.5 s without an answer (between 0.0 and 6.5 s)"],
        ),
        # a request fails, then the second tier answers
        (
            [*WELL, bad(6), request(9, "ollama")],
            [OUTAGE, "FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)"],
        ),
        # two fail: the gap has a lower bound
        (
            [*WELL, bad(6), bad(9), request(12, "ollama")],
            [OUTAGE, "FAILOVER vllm → ollama after 6.1 s without an answer (between 3.0 and 9.1 s)"],
        ),
        # back, after a time on the second
        (
            [*WELL, request(6, "ollama"), request(9, "ollama"), request(47, "vllm")],
            [
                "FAILOVER vllm → ollama after 0.1 s without an answer (between 0.0 and 3.1 s)",
                "RECOVERED: vllm again, after 41 s on ollama",
            ],
        ),
        # down two steps at once, up one, up the other
        (
            [*WELL, request(6, "openai"), request(9, "ollama"), request(12, "vllm")],
            [
                "FAILOVER vllm → openai after 0.1 s without an answer (between 0.0 and 3.1 s)",
                "RECOVERED: ollama answers, after 3 s on openai",
                "RECOVERED: vllm again, after 6 s on openai and ollama",
            ],
        ),
        # an outage without a failover
        (
            [*WELL, bad(6), request(9, "vllm")],
            [OUTAGE, "RECOVERED: vllm again, after 3.1 s without an answer (between 0.0 and 6.1 s)"],
        ),
        # an outage on the way back
        (
            [request(0, "vllm"), request(3, "ollama"), bad(6), request(9, "vllm")],
            [
                "FAILOVER vllm → ollama after 0.1 s without an answer (between 0.0 and 3.1 s)",
                OUTAGE,
                "RECOVERED: vllm again, after 6 s on ollama, 3.1 s of it without an answer (between 0.0 and 6.1 s)",
            ],
        ),
        # no answer before: the gap has no upper bound
        (
            [bad(0), bad(3), request(6, "vllm")],
            [
                "OUTAGE: no answer since 00:00:00 (#1: 500: boom)",
                "RECOVERED: vllm answers, after 6.1 s without an answer (at least 3.0 s)",
            ],
        ),
        # it began on the second tier: the first one's return is a recovery
        ([request(0, "ollama"), request(3, "vllm")], ["RECOVERED: vllm answers, after 3 s on ollama"]),
        # a cut answer is not an outage: a tier gave it, but no tier gave a whole one
        (
            [*WELL, request(6, "vllm", outcome="cut"), request(9, "ollama")],
            ["FAILOVER vllm → ollama after 3.1 s without a whole answer (between 0.0 and 6.1 s)"],
        ),
        ([*WELL, request(6, "vllm", outcome="cut"), request(9, "vllm")], []),
        # deployments of one rank take turns; one of them goes away, which is no failover
        ([request(3 * n, "vllm-b" if n % 2 else "vllm") for n in range(6)], []),
        (
            [request(0, "vllm"), bad(3), request(6, "vllm-b")],
            [
                "OUTAGE: no answer since 00:00:03 (#2: 500: boom)",
                "RECOVERED: vllm-b again, after 3.1 s without an answer (between 0.0 and 6.1 s)",
            ],
        ),
        (
            [request(0, "vllm-b"), request(3, "ollama"), request(6, "vllm"), request(9, "vllm-b")],
            [
                "FAILOVER vllm-b → ollama after 0.1 s without an answer (between 0.0 and 3.1 s)",
                "RECOVERED: vllm again, after 3 s on ollama",
            ],
        ),
        # the gateway does not name the serving tier: outages are detected all the same
        (
            [request(0), bad(3), request(6)],
            [
                "OUTAGE: no answer since 00:00:03 (#2: 500: boom)",
                "RECOVERED: the gateway again, after 3.1 s without an answer (between 0.0 and 6.1 s)",
            ],
        ),
    ],
)
def test_the_banners_of_a_sequence(requests, banners):
    assert Replay(*requests).banners == banners


def test_a_late_answer_does_not_undo_a_later_change():
    """Sent before the failover, answered after it, by the tier that is gone."""
    slow = request(6, "vllm", took_s=8, ttft_s=7)
    found = Replay(*WELL, slow, request(9, "ollama"), request(12, "ollama"))
    assert found.banners == ["FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)"]
    (failover,) = found.changes.all
    assert failover.silence.from_at == 9, "the slow one was answered as before: it was not lost"


def test_an_old_failure_is_no_outage_while_later_requests_are_answered():
    assert Replay(*WELL, bad(6, "timeout", 30), request(9, "vllm"), request(12, "vllm")).banners == []


def test_an_old_answer_does_not_end_an_outage_that_a_later_request_has_shown():
    found = Replay(*WELL, request(6, "vllm", took_s=5, ttft_s=4), bad(9), request(12, "ollama"))
    assert found.banners == [
        "OUTAGE: no answer since 00:00:06 (#4: 500: boom)",
        "FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)",
    ]


def test_what_is_in_the_middle_of_its_answer_is_not_lost():
    slow = [request(3 * n, "ollama", took_s=3.9) for n in range(4)]
    found = Replay(*slow, request(12, "vllm", 0.4))
    assert found.banners == ["RECOVERED: vllm answers, after 12 s on ollama"]


@pytest.mark.parametrize(("took_s", "until", "outages"), [(60, 18, 1), (60, 15, 0)])
def test_requests_that_hang_are_an_outage_after_ten_seconds(took_s, until, outages):
    hung = [bad(6 + 3 * n, "timeout", took_s) for n in range(4)]
    found = Replay(*WELL, *hung, until=until)
    expected = ["OUTAGE: no answer since 00:00:06 (#3: the request hangs)"]
    assert found.banners == expected[:outages]


def test_a_long_answer_that_has_begun_is_no_outage():
    assert Replay(*[request(3 * n, "ollama", took_s=12) for n in range(8)]).banners == []


def test_a_tier_that_is_always_so_slow_is_an_outage_at_most_once():
    """Answers in one piece: the first byte comes at their end."""
    found = Replay(*[request(3 * n, "ollama", took_s=12, ttft_s=12, stream=False) for n in range(8)])
    assert found.banners == [
        "OUTAGE: no answer since 00:00:00 (#1: the request hangs)",
        "RECOVERED: ollama answers, after 12.0 s without an answer",
    ]


def test_a_stream_that_has_not_begun_is_lost_when_it_is_overdue():
    hung = bad(6, "timeout", 30)
    found = Replay(*WELL, hung, request(9, "ollama"), request(12, "ollama"))
    assert found.banners == ["FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)"]


def test_the_outage_knows_its_end():
    found = Replay(*WELL, bad(6), request(9, "vllm"))
    outage = next(c for c in found.changes.all if isinstance(c, Outage))
    assert (outage.since_at, outage.until_at) == (6, 9.1)


def test_the_gap_is_narrower_when_the_speed_of_the_second_tier_is_known():
    """The true gap: no tier from 6.0 on, ollama from 9.0 on, whose first token takes 0.2 s.

    The requests at 9 and 12 are slow as the one at 6 is: the gateway still tries vllm."""
    slow = [request(6.0 + 3 * n, "ollama", 3.5, 3.2) for n in range(3)]
    fast = [request(16.0 + n, "ollama", ttft_s=0.2) for n in range(3)]
    found = Replay(*WELL, *slow, *fast)
    assert found.banners == ["FAILOVER vllm → ollama after 3.2 s without an answer (between 0.0 and 6.2 s)"]
    lower, upper = found.changes.gap_s(found.changes.all[0])
    assert (lower, upper) == (pytest.approx(3.0), pytest.approx(6.2))


def test_for_a_tier_that_has_answered_before_the_narrower_gap_is_known_at_once():
    found = Replay(
        request(0, "ollama", ttft_s=0.2),
        *[request(3.0 * n, "vllm") for n in (1, 2)],
        request(9, "ollama", 3.5, 3.2),
    )
    assert found.banners[1:] == [
        "FAILOVER vllm → ollama after 3.2 s without an answer (between 3.0 and 6.2 s)"
    ]


@pytest.mark.parametrize(
    ("requests", "names"),
    [
        # (group, number of fallbacks in the gateway's header) → places
        ([("a", 0), ("b", 1), ("c", 1), ("a", 0)], [0, 1, 2, 0]),
        ([("b", 1), ("a", 0), ("b", 1)], [1, 0, 1]),  # it began in a fallback
        ([("a", None), ("b", None)], [0, 1]),  # a gateway that counts none
        ([(None, None)], [None]),
    ],
)
def test_without_a_topology_the_first_tier_is_the_one_that_answered_without_a_fallback(requests, names):
    lineup = Lineup()
    records = [request(0, group, route_fallbacks=n) for group, n in requests]
    assert [lineup.place(lineup.name(record)) for record in records] == names


def test_a_tier_outside_the_topology_comes_after_all_others():
    lineup = Lineup([["vllm"], ["ollama"]])
    assert [lineup.place(lineup.name(request(0, tier))) for tier in ("vllm", "strange", "ollama")] == [
        0,
        2,
        1,
    ]
    assert lineup.name(request(0, "vllm", status=500)) is None, "headers are right on a 200 only"

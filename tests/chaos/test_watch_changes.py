"""What a sequence of requests says: failovers, outages, recoveries and their gaps, in the order in which they are told."""

import pytest

from chaos.watch.changes import Outage
from chaos.watch.lineup import Lineup
from tests.chaos.watched import Walk, asked, bad

WELL = [asked(0, "vllm"), asked(3, "vllm")]
OUTAGE = "OUTAGE: nobody answers since 00:00:06 (#3: 500: boom)"


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("requests", "told"),
    [
        # all is well
        (WELL, []),
        # the first tier hangs for its timeout of 3 s, then the second one answers
        (
            [*WELL, asked(6, "ollama", 3.5, 3.1)],
            ["FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)"],
        ),
        # the same, and the second tier is a reasoning model that shows no token: it answered when its answer ended
        (
            [*WELL, asked(6, "ollama", 3.5, ttft_ms=None)],
            ["FAILOVER vllm → ollama after 3.5 s without an answer (between 0.0 and 6.5 s)"],
        ),
        # a request fails, then the second tier answers
        (
            [*WELL, bad(6), asked(9, "ollama")],
            [OUTAGE, "FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)"],
        ),
        # two fail: silence was seen between the two
        (
            [*WELL, bad(6), bad(9), asked(12, "ollama")],
            [OUTAGE, "FAILOVER vllm → ollama after 6.1 s without an answer (between 3.0 and 9.1 s)"],
        ),
        # back, after a time on the second
        (
            [*WELL, asked(6, "ollama"), asked(9, "ollama"), asked(47, "vllm")],
            [
                "FAILOVER vllm → ollama after 0.1 s without an answer (between 0.0 and 3.1 s)",
                "RECOVERED: vllm again, after 41 s on ollama",
            ],
        ),
        # down two steps at once, up one, up the other
        (
            [*WELL, asked(6, "openai"), asked(9, "ollama"), asked(12, "vllm")],
            [
                "FAILOVER vllm → openai after 0.1 s without an answer (between 0.0 and 3.1 s)",
                "RECOVERED: ollama answers, after 3 s on openai",
                "RECOVERED: vllm again, after 6 s on openai and ollama",
            ],
        ),
        # an outage without a failover
        (
            [*WELL, bad(6), asked(9, "vllm")],
            [OUTAGE, "RECOVERED: vllm again, after 3.1 s without an answer (between 0.0 and 6.1 s)"],
        ),
        # an outage on the way back
        (
            [asked(0, "vllm"), asked(3, "ollama"), bad(6), asked(9, "vllm")],
            [
                "FAILOVER vllm → ollama after 0.1 s without an answer (between 0.0 and 3.1 s)",
                OUTAGE,
                "RECOVERED: vllm again, after 6 s on ollama, 3.1 s of it without an answer (between 0.0 and 6.1 s)",
            ],
        ),
        # nothing had ever answered: nobody knows for how long that was so
        (
            [bad(0), bad(3), asked(6, "vllm")],
            [
                "OUTAGE: nobody answers since 00:00:00 (#1: 500: boom)",
                "RECOVERED: vllm answers, after 6.1 s without an answer (at least 3.0 s)",
            ],
        ),
        # it began on the second tier: that the first is back is a recovery
        ([asked(0, "ollama"), asked(3, "vllm")], ["RECOVERED: vllm answers, after 3 s on ollama"]),
        # a cut answer is no outage: somebody gave it; but nobody gave a whole one
        (
            [*WELL, asked(6, "vllm", outcome="cut"), asked(9, "ollama")],
            ["FAILOVER vllm → ollama after 3.1 s without a whole answer (between 0.0 and 6.1 s)"],
        ),
        ([*WELL, asked(6, "vllm", outcome="cut"), asked(9, "vllm")], []),
        # deployments that share a rank take turns; one of them is gone, and no tier was left for that
        ([asked(3 * n, "vllm-b" if n % 2 else "vllm") for n in range(6)], []),
        (
            [asked(0, "vllm"), bad(3), asked(6, "vllm-b")],
            [
                "OUTAGE: nobody answers since 00:00:03 (#2: 500: boom)",
                "RECOVERED: vllm-b again, after 3.1 s without an answer (between 0.0 and 6.1 s)",
            ],
        ),
        (
            [asked(0, "vllm-b"), asked(3, "ollama"), asked(6, "vllm"), asked(9, "vllm-b")],
            [
                "FAILOVER vllm-b → ollama after 0.1 s without an answer (between 0.0 and 3.1 s)",
                "RECOVERED: vllm again, after 3 s on ollama",
            ],
        ),
        # the gateway does not tell who serves: outages are seen all the same
        (
            [asked(0), bad(3), asked(6)],
            [
                "OUTAGE: nobody answers since 00:00:03 (#2: 500: boom)",
                "RECOVERED: the gateway again, after 3.1 s without an answer (between 0.0 and 6.1 s)",
            ],
        ),
    ],
)
def test_what_a_sequence_says(requests, told):
    assert Walk(*requests).banners == told


def test_what_is_answered_late_does_not_undo_what_was_said_after_it():
    """Asked before the failover, answered after it, by the tier that is gone."""
    slow = asked(6, "vllm", took_s=8, ttft_s=7)
    found = Walk(*WELL, slow, asked(9, "ollama"), asked(12, "ollama"))
    assert found.banners == ["FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)"]
    (failover,) = found.changes.all
    assert failover.silence.from_at == 9, "the slow one was answered as before: it was not lost"


def test_an_old_failure_is_no_outage_while_later_asks_are_answered():
    assert Walk(*WELL, bad(6, "timeout", 30), asked(9, "vllm"), asked(12, "vllm")).banners == []


def test_an_old_answer_does_not_end_an_outage_that_a_later_ask_has_shown():
    found = Walk(*WELL, asked(6, "vllm", took_s=5, ttft_s=4), bad(9), asked(12, "ollama"))
    assert found.banners == [
        "OUTAGE: nobody answers since 00:00:06 (#4: 500: boom)",
        "FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)",
    ]


def test_what_is_in_the_middle_of_its_answer_is_not_lost():
    slow = [asked(3 * n, "ollama", took_s=3.9) for n in range(4)]
    found = Walk(*slow, asked(12, "vllm", 0.4))
    assert found.banners == ["RECOVERED: vllm answers, after 12 s on ollama"]


@pytest.mark.parametrize(("took_s", "until", "told"), [(60, 18, 1), (60, 15, 0)])
def test_asks_that_only_wait_are_an_outage_after_ten_seconds(took_s, until, told):
    hung = [bad(6 + 3 * n, "timeout", took_s) for n in range(4)]
    found = Walk(*WELL, *hung, until=until)
    expected = ["OUTAGE: nobody answers since 00:00:06 (#3: it only waits)"]
    assert found.banners == expected[:told]


def test_a_long_answer_that_has_begun_is_no_outage():
    assert Walk(*[asked(3 * n, "ollama", took_s=12) for n in range(8)]).banners == []


def test_a_tier_that_is_always_so_slow_is_one_at_most_once():
    """Answers in one piece: nothing is seen before their end."""
    found = Walk(*[asked(3 * n, "ollama", took_s=12, ttft_s=12, stream=False) for n in range(8)])
    assert found.banners == [
        "OUTAGE: nobody answers since 00:00:00 (#1: it only waits)",
        "RECOVERED: ollama answers, after 12.0 s without an answer",
    ]


def test_a_stream_that_has_not_begun_is_lost_when_it_is_overdue():
    hung = bad(6, "timeout", 30)
    found = Walk(*WELL, hung, asked(9, "ollama"), asked(12, "ollama"))
    assert found.banners == ["FAILOVER vllm → ollama after 3.1 s without an answer (between 0.0 and 6.1 s)"]


def test_the_outage_knows_its_end():
    found = Walk(*WELL, bad(6), asked(9, "vllm"))
    outage = next(c for c in found.changes.all if isinstance(c, Outage))
    assert (outage.since_at, outage.until_at) == (6, 9.1)


def test_the_gap_is_told_closer_when_it_is_known_how_fast_the_second_tier_is():
    """The true gap is put in: from 6.0 on nobody, from 9.0 on ollama, whose first token takes 0.2 s.

    The requests at 9 and 12 pay for the loss as the one at 6 does: the gateway has not given vllm up yet."""
    paying = [asked(6.0 + 3 * n, "ollama", 3.5, 3.2) for n in range(3)]
    fast = [asked(16.0 + n, "ollama", ttft_s=0.2) for n in range(3)]
    found = Walk(*WELL, *paying, *fast)
    assert found.banners == ["FAILOVER vllm → ollama after 3.2 s without an answer (between 0.0 and 6.2 s)"]
    lower, upper = found.changes.gap_s(found.changes.all[0])
    assert (lower, upper) == (pytest.approx(3.0), pytest.approx(6.2))


def test_of_a_tier_that_has_answered_before_it_is_known_at_once():
    found = Walk(
        asked(0, "ollama", ttft_s=0.2),
        *[asked(3.0 * n, "vllm") for n in (1, 2)],
        asked(9, "ollama", 3.5, 3.2),
    )
    assert found.banners[1:] == [
        "FAILOVER vllm → ollama after 3.2 s without an answer (between 3.0 and 6.2 s)"
    ]


@pytest.mark.parametrize(
    ("requests", "names"),
    [
        # (group, fallbacks as the gateway tells them) → places
        ([("a", 0), ("b", 1), ("c", 1), ("a", 0)], [0, 1, 2, 0]),
        ([("b", 1), ("a", 0), ("b", 1)], [1, 0, 1]),  # it began in a fallback
        ([("a", None), ("b", None)], [0, 1]),  # a gateway that counts none
        ([(None, None)], [None]),
    ],
)
def test_without_a_topology_the_first_tier_is_who_answered_without_a_fallback(requests, names):
    lineup = Lineup()
    told = [asked(0, group, route_fallbacks=n) for group, n in requests]
    assert [lineup.place(lineup.name(record)) for record in told] == names


def test_a_tier_that_the_topology_does_not_have_stands_behind_all_others():
    lineup = Lineup([["vllm"], ["ollama"]])
    assert [lineup.place(lineup.name(asked(0, who))) for who in ("vllm", "strange", "ollama")] == [0, 2, 1]
    assert lineup.name(asked(0, "vllm", status=500)) is None, "headers are right on a 200 only"

"""Health checks that the answers of the same seconds contradict are no evidence."""

import random

import pandas as pd
import pytest

from analysis import frames, judge
from analysis.evidence import Evidence
from analysis.judging.finding import Status
from analysis.metrics.attribution import Why
from analysis.metrics.health import believed, doubts
from contract.records import Lane
from contract.samplers.health import Health
from tests.synthetic import make
from tests.synthetic_world import OLLAMA, OPENAI, START, VLLM, Hole, World, answer

NEED = {"cloud_only_in_need": {"id": "NFR68"}}


def rows(tier: str, *up: bool | None, status: int | None = None, at: float = 0.5) -> list[Health]:
    return [Health(START + at + i, tier, one, None if one else status) for i, one in enumerate(up)]


def by(tier: str, at: float, via: str = "gateway", takes_s: float = 0.2):
    world = World((VLLM, OLLAMA, OPENAI), (), random.Random(1))
    record = answer(world.new(at, Lane.LOAD), tier, takes_s)
    record.request_id, record.via = f"{tier} at {at} via {via}", via
    return record


def seen(health: list[Health], answered: list[tuple[float, float]], tier: str = "vllm") -> list[bool | None]:
    """`up` as believed, of one tier that gave good answers, each with when it was sent and its first token came."""
    requests = pd.DataFrame(
        [(tier, tier, True, START + sent, START + first, START + first) for sent, first in answered],
        columns=["via", "tier", "good", "sent_at", "first_at", "ended_at"],
    )
    table = pd.DataFrame(
        [(h.at, h.tier, h.up, h.status) for h in health], columns=["at", "tier", "up", "status"]
    )
    table = table.astype({"up": "boolean", "status": "Int16"})
    return [None if up is pd.NA else bool(up) for up in believed(table, requests)["up"]]


UP, DOWN = True, False


@pytest.mark.parametrize(
    ("up", "answered", "found"),
    [
        ([UP, DOWN, DOWN, UP], [], [UP, DOWN, DOWN, UP]),
        ([UP, DOWN, DOWN, UP], [(1.2, 1.4)], [UP, DOWN, DOWN, UP]),  # before the first that failed
        ([UP, DOWN, DOWN, UP], [(1.2, 1.8)], [UP, DOWN, DOWN, UP]),  # sent before it: it may be draining
        ([UP, DOWN, DOWN, UP], [(1.6, 2.6)], [UP, DOWN, DOWN, UP]),  # after the last that failed
        ([UP, DOWN, DOWN, UP], [(1.6, 2.0)], [UP, None, None, UP]),
        ([DOWN] * 4, [(1.6, 2.0)], [None] * 4),  # it never answered: wrong from the beginning
        ([DOWN] * 4, [], [DOWN] * 4),
        ([DOWN, None, DOWN, DOWN], [(1.0, 1.2)], [None] * 4),  # one second is unknown: still the same row
        # It was away for long, came back, and its health url came back later.
        ([UP, *[DOWN] * 20, UP], [(18.6, 18.8)], [UP, *[DOWN] * 13, *[None] * 7, UP]),
        # It drained: its health url failed before it was gone, and it was gone for long.
        ([UP, *[DOWN] * 20, UP], [(1.6, 1.8), (2.6, 2.8)], [UP, *[None] * 7, *[DOWN] * 13, UP]),
        ([UP, *[DOWN] * 20, UP], [(1.6, 1.8), (18.6, 18.8)], [UP, *[None] * 20, UP]),  # it answered all along
        ([UP, DOWN, UP, DOWN, DOWN, UP], [(3.6, 3.9)], [UP, DOWN, UP, None, None, UP]),
    ],
)  # fmt: skip
def test_a_failed_check_is_not_believed_where_the_tier_answered_meanwhile(up, answered, found):
    assert seen(rows("vllm", *up), answered) == found


@pytest.mark.parametrize(
    ("status", "found"),
    [(200, UP), (204, UP), (302, None), (401, None), (404, None), (429, None), (500, DOWN), (503, DOWN)],
)
def test_a_status_that_says_nothing_of_the_engine_is_unknown_whatever_was_recorded(status, found):
    assert seen([Health(START, "vllm", status < 300, status)], []) == [found]


def judged(tmp_path, health, requests, **more):
    made = make(
        tmp_path,
        (),
        duration_s=60,
        rate=0,
        probe_rate=0,
        pairs=0,
        extra=requests,
        expect=NEED,
        health=health,
        **more,
    )
    run = Evidence(frames.read(made.path))
    return run, next(f for f in judge.judge(run).findings if f.name == "cloud_only_in_need")


LEAKS = [by("openai", 10 + i) for i in range(10)]
DIRECT = [by(tier, 8.1 + i, via=tier) for tier in ("vllm", "ollama") for i in range(16)]


@pytest.mark.parametrize("status", [401, 403, 404, 307, 500, 503, None])
def test_a_health_url_that_never_says_well_hides_no_leak(tmp_path, status):
    """The tiers gave good answers to direct requests the whole time: the cloud's answers were not needed."""
    health = [*rows("vllm", *[DOWN] * 60, status=status), *rows("ollama", *[DOWN] * 60, status=status)]
    run, found = judged(tmp_path, health, DIRECT + LEAKS)
    assert found.status is Status.FAIL
    assert set(run.lower["why"]) == {Why.SPURIOUS}
    assert all(words.startswith(("vllm: 60 of 60", "ollama: 60 of 60")) for words in doubts(run.health))


@pytest.mark.parametrize("status", [401, 404, 307])
def test_where_nothing_answered_directly_either_it_is_unknown_and_no_pass(tmp_path, status):
    health = [*rows("vllm", *[DOWN] * 60, status=status), *rows("ollama", *[DOWN] * 60, status=status)]
    run, found = judged(tmp_path, health, LEAKS)
    assert found.status is Status.UNKNOWN
    assert set(run.lower["why"]) == {Why.UNKNOWN}


def test_a_health_url_that_fails_every_other_time_makes_no_pass(tmp_path):
    flapping = [UP, DOWN] * 30
    _, found = judged(
        tmp_path, [*rows("vllm", *flapping, status=503), *rows("ollama", *flapping, status=503)], LEAKS
    )
    assert found.status is Status.UNKNOWN


def test_what_was_really_down_is_still_needed(tmp_path):
    health = [*rows("vllm", *[DOWN] * 60), *rows("ollama", *[DOWN] * 60)]
    run, found = judged(tmp_path, health, LEAKS)
    assert set(run.lower["why"]) == {Why.NEEDED}
    assert found.status is Status.PASS
    assert doubts(run.health) == []


def test_a_loss_is_not_shown_by_a_health_url_that_failed_all_along(tmp_path):
    hole = Hole("gpu", "vllm", 20, 20, restore_s=2)
    direct = [by("vllm", 5.1 + i, via="vllm") for i in range(12)]
    made = make(
        tmp_path,
        [hole],
        duration_s=60,
        rate=0,
        probe_rate=0,
        pairs=0,
        extra=direct,
        health=rows("vllm", *[DOWN] * 60),
    )
    assert Evidence(frames.read(made.path)).lost == {}

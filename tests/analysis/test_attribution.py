"""Why a lower tier answered, tested on answers with a known reason."""

import random

import pytest

from analysis import frames
from analysis.evidence import Evidence
from analysis.metrics.attribution import Why, by_class
from contract.records import Lane
from tests.synthetic import make, three_tier
from tests.synthetic_world import OLLAMA, OPENAI, VLLM, Hole, World, answer

VLLM_GONE = Hole("gpu", "vllm", 30, 60, restore_s=4)  # gone 30.2–94, restore commanded at 90
OLLAMA_GONE = Hole("cpu", "ollama", 96, 20, restore_s=4)  # gone 96.2–120, while vllm may still be in cooldown


def classes(tmp_path, requests, **more):
    made = make(tmp_path, [VLLM_GONE, OLLAMA_GONE], duration_s=200, rate=0, pairs=0, extra=requests, **more)
    run = Evidence(frames.read(made.path))
    found = run.lower.set_index("request_id")
    return [(found.loc[a.request_id, "why"], found.loc[a.request_id, "because"]) for a in requests]


def by(tier, at, takes_s=0.2):
    world = World((VLLM, OLLAMA, OPENAI), (), random.Random(1))
    record = answer(world.new(at, Lane.LOAD), tier, takes_s)
    record.request_id = f"{tier} at {at} for {takes_s}"
    return record


CASES = [
    ("ollama", 50, 0.2, Why.NEEDED),  # vllm was gone
    ("ollama", 20, 0.2, Why.SPURIOUS),  # vllm served all along
    ("openai", 50, 0.2, Why.SPURIOUS),  # ollama served all along
    ("ollama", 95, 0.2, Why.STICKY),  # vllm had just returned: cooldown 30 s
    ("ollama", 130, 0.2, Why.SPURIOUS),  # the cooldown was over at 124
    ("openai", 105, 0.2, Why.NEEDED),  # vllm in its cooldown, ollama gone
    ("openai", 121, 0.2, Why.STICKY),  # both returned, ollama within the cooldown
    ("openai", 170, 0.2, Why.SPURIOUS),  # both back for long
    ("openai", 118, 9.0, Why.NEEDED),  # sent while ollama was gone, its headers came after the return
    ("openai", 29.9, 1.0, Why.SPURIOUS),  # vllm went during the request, but ollama served the whole time
    ("ollama", 29.9, 1.0, Why.NEEDED),  # vllm went between sent and headers
    ("ollama", 93.9, 0.01, Why.UNKNOWN),  # vllm's restore was commanded, not verified
]


@pytest.fixture(scope="module")
def all_cases(tmp_path_factory):
    """Every case in one run: they do not affect each other."""
    return classes(
        tmp_path_factory.mktemp("cases"), [by(tier, at, takes_s) for tier, at, takes_s, _ in CASES]
    )


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{t} at {a}" for t, a, _, _ in CASES])
def test_each_answer_has_the_class_that_its_instant_gives_it(all_cases, case):
    found, because = all_cases[case]
    assert found == CASES[case][3], because


def test_without_evidence_that_a_tier_served_nothing_is_called_spurious(tmp_path):
    ((why, because),) = classes(tmp_path, [by("ollama", 20)], health=False, probe_rate=0)
    assert (why, because) == (Why.UNKNOWN, "vllm unverified")


def test_good_answers_around_it_show_that_a_tier_served_where_no_health_was_watched(tmp_path):
    ((why, _),) = classes(tmp_path, [by("ollama", 20)], health=False)
    assert why == Why.SPURIOUS


def test_an_unknown_cooldown_makes_it_unknown_until_the_tier_answers_again(tmp_path):
    hole = Hole("gpu", "vllm", 30, 60, restore_s=4, sticky_s=12)  # answers again from 106 on
    requests = [by("ollama", 100), by("ollama", 150)]
    made = make(tmp_path, [hole], duration_s=200, rate=0, pairs=0, extra=requests, cooldown=None)
    found = Evidence(frames.read(made.path)).lower.set_index("request_id")["why"]
    assert [found[a.request_id] for a in requests] == [Why.UNKNOWN, Why.SPURIOUS]


def test_a_tier_that_was_down_of_itself_needs_no_fault_to_be_called_down(tmp_path):
    sick = Hole("of-itself", "vllm", 20, 30)
    made = make(tmp_path, [sick], duration_s=80, events=[], rate=2, pairs=0)
    lower = Evidence(frames.read(made.path)).lower
    middle = lower[lower["sent_at"].between(made.lost_at("of-itself") + 3, made.lost_at("of-itself") + 25)]
    assert set(middle["why"]) == {"needed"}


def test_three_tiers_as_they_ought_to_go_leak_nothing(tmp_path):
    run = Evidence(frames.read(three_tier(tmp_path).path))
    table = by_class(run.lower, run.frames.ranks)
    assert table["spurious"].tolist() == [0, 0]
    assert table.loc["ollama", "sticky"] > 50  # vllm was back for 12 s before the gateway took it again
    assert table.loc["openai", "needed"] > 300

"""The inputs of a run: which users are chosen, and what is refused."""

from pathlib import Path

import pytest

from contract import timeline
from contract.refusal import Refusal
from scenarios.gateway.arrivals import Arrivals, parse
from scenarios.gateway.trace import Arrival
from scenarios.run.inputs import choose, read, refuse_ineffective, refuse_limits, trace_length
from tests.chaos.stand import ROOT
from tests.scenarios.run.fakes import SCENARIOS, Chat, Classify, Direct, Overhead, options

THREE_TIER = ROOT / "chaos/timelines/three_tier.yaml"


@pytest.mark.parametrize(
    ("option", "of_timeline", "chosen"),
    [
        ("", None, [Chat, Direct, Overhead]),
        ("", ["classify"], [Classify]),
        ("chat", ["classify"], [Chat]),
        (" direct , chat ,", None, [Direct, Chat]),
        ("classify", None, [Classify]),
    ],
)
def test_the_command_line_chooses_then_the_timeline_then_the_default(option, of_timeline, chosen):
    assert choose(option, of_timeline, Path("l.yaml"), SCENARIOS) == chosen


@pytest.mark.parametrize(
    ("option", "of_timeline", "words"),
    [
        ("chat,dierct", None, "--scenarios: no scenario 'dierct'; did you mean 'direct'?"),
        ("", ["clasify"], "l.yaml: scenarios: no scenario 'clasify'; did you mean 'classify'?"),
    ],
)
def test_an_unknown_scenario_is_refused_where_it_stands(option, of_timeline, words):
    with pytest.raises(Refusal) as found:
        choose(option, of_timeline, Path("l.yaml"), SCENARIOS)
    assert str(found.value) == words


@pytest.mark.parametrize(
    ("given", "opened", "closed"),
    [
        ({}, [], [Chat, Direct]),
        ({"arrivals": "constant:8/s"}, [Chat], [Direct]),
        ({"arrivals": "constant:8/s", "scenarios": "chat"}, [Chat], []),
        ({"arrivals": "constant:8/s", "scenarios": "direct"}, [Direct], []),
    ],
)
def test_an_open_loop_takes_the_place_of_the_load_s_users(given, opened, closed):
    given = {"scenarios": "chat,direct"} | given
    found = read(options(timeline=str(THREE_TIER), **given), SCENARIOS, None)
    assert (found.opened, found.closed) == (opened, closed)
    assert found.of_scenarios == {}
    assert found.users == [*opened, *closed]


def test_what_a_scenario_needs_is_read_where_it_is_chosen():
    given = options(timeline=str(THREE_TIER), scenarios="chat,classify", documents="papers")
    assert read(given, SCENARIOS, None).of_scenarios == {"classify": ["papers"]}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_in_flight": 0}, "--max-in-flight: 0 allows no requests; give 1 or more"),
        ({"duration": "24"}, "--duration: '24' is not a duration; write 24s"),
        ({"restore_within": "20"}, "--restore-within: '20' is not a duration; write 20s"),
        ({"restore_within": "0s"}, "--restore-within: 0s leaves no time to restore; write it like 15m"),
    ],
)
def test_an_invalid_limit_is_refused(given, words):
    refuse_limits(options())
    with pytest.raises(Refusal) as found:
        refuse_limits(options(**given))
    assert words in str(found.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"host": "http://x"}, "--host: 'http://x': the topology sets the gateway; remove the option"),
        ({"class_picker": True}, "--class-picker: choose scenarios with --scenarios"),
        ({"profile": "p"}, "--profile: 'p': is not used; remove the option"),
    ],
)
def test_an_option_of_locusts_without_effect_is_refused(given, words):
    refuse_ineffective(options())
    with pytest.raises(Refusal) as found:
        refuse_ineffective(options(**given))
    assert words in str(found.value)


def test_the_length_of_a_trace_stands_beside_a_round_of_the_timeline():
    lines = timeline.read(THREE_TIER)
    trace = Arrivals("replay", trace=(Arrival(0.0), Arrival(3.0)), read_as="milliseconds")
    length = trace_length("replay:trace.csv", trace, lines)
    assert length.startswith(
        "replay:trace.csv: 2 arrivals over 3s (0.667/s), times read as milliseconds; a round of"
    )
    assert trace_length("constant:8/s", parse("constant:8/s"), lines) is None

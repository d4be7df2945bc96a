"""The `expect:` half of a timeline: what is refused, in which words; and the catalogue of checkers."""

import re
from pathlib import Path

import pytest
import yaml

from analysis import checkers
from analysis.__main__ import main

HOUSE = Path(__file__).parents[2]
TIMELINE = HOUSE / "chaos" / "timelines" / "three_tier.yaml"
TOPOLOGY = HOUSE / "topologies" / "embedded.yaml"


def check(tmp_path, capsys, expect, *more):
    data = yaml.safe_load(TIMELINE.read_text()) | {"expect": expect}
    file = tmp_path / "timeline.yaml"
    file.write_text(yaml.safe_dump(data))
    code = main(["check", str(file), *more])
    return code, capsys.readouterr().err


def test_the_timelines_of_the_house_are_right(capsys):
    for file in (HOUSE / "chaos" / "timelines").glob("*.yaml"):
        named = re.match(r"# For (topologies/[\w.]+):", file.read_text())
        assert (
            main(["check", str(file), "--topology", str(HOUSE / named.group(1) if named else TOPOLOGY)]) == 0
        )
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"failovr": {}}, "expect: no expectation 'failovr'; did you mean 'failover'?"),
        ({"failover": {"step": "gaming-mode", "to": "ollama"}}, "failover: max_s: is missing"),
        ({"failover": {"step": "gamin-mode", "to": "ollama", "max_s": 5}}, "step: no step 'gamin-mode'; did you mean 'gaming-mode'?"),
        ({"failover": {"step": "gaming-mode", "to": "olama", "max_s": 5}}, "to: no tier 'olama'; did you mean 'ollama'?"),
        ({"failover": {"step": "gaming-mode", "to": "vllm", "max_s": 5}}, "to: 'vllm' is the target of step 'gaming-mode'"),
        ({"recovery": {"max_s": 60, "stp": "gaming-mode"}}, "recovery: stp: no key 'stp'; did you mean 'step'?"),
        ({"recovery": {"max_s": "60s"}}, "recovery: max_s: "),
        ({"recovery": {"max_s": -1}}, "greater than 0"),
        ({"recovery": {"max_s": True}}, "max_s: true is not a number"),
        ({"continuity": {"min_good": 99}}, "less than or equal to 1"),
        ({"availability": {"max_s": 5, "window": 60}}, "availability: window: 60 is a bare number, not a duration; write 60s"),
        ({"latency": {"tier": "olama", "quantile": 0.95, "max_ms": 5}}, "latency: tier: no tier 'olama'; did you mean 'ollama'?"),
        ({"latency": {"quantile": 95, "max_ms": 5}}, "latency: quantile: "),
        ({"latency": {"quantile": 0.95, "max_ms": 5, "from": "start"}}, "latency: from: Input should be 'scheduled' or 'sent'"),
        ({"latency": {"quantile": 0.95, "max_ms": 5, "from": "intended"}}, "latency: from: 'intended' is 'scheduled' now"),
        ({"goodput": {"min": 95}}, "goodput: min: "),
        ({"cuts": {"max_per_trial": 1.5}}, "cuts: max_per_trial: "),
        ({"cloud_only_in_need": {"max_leaks": -1}}, "cloud_only_in_need: max_leaks: "),
        ({"exercised": {"gaming-mod": {"ollama": 5}}}, "exercised: no step 'gaming-mod'; did you mean 'gaming-mode'?"),
        ({"exercised": {"gaming-mode": {"olama": 5}}}, "exercised: gaming-mode: no tier 'olama'"),
        ({"exercised": {"gaming-mode": {"ollama": 0}}}, "exercised: gaming-mode: ollama: "),
        ({"exercised": {"gaming-mode": 5}}, "exercised: gaming-mode: "),
    ],
)  # fmt: skip
def test_a_wrong_expectation_is_refused_with_what_would_be_right(tmp_path, capsys, expect, words):
    code, output = check(tmp_path, capsys, expect, "--topology", str(TOPOLOGY))
    assert code == 64
    assert words in output


def test_all_mistakes_are_named_at_once(tmp_path, capsys):
    wrong = {"failovr": {}, "cuts": {}, "recovery": {"max_s": 1, "step": "nope"}}
    code, output = check(tmp_path, capsys, wrong)
    assert code == 64
    assert len(output.strip().splitlines()) == 3


def test_without_a_topology_tiers_are_not_judged(tmp_path, capsys):
    assert check(tmp_path, capsys, {"exercised": {"gaming-mode": {"somebody": 5}}}) == (0, "")


def test_a_wrong_command_line_is_bad_input_like_any_other(capsys):
    with pytest.raises(SystemExit) as e:
        main(["reprot"])
    assert e.value.code == 64


@pytest.mark.parametrize(("name", "module"), checkers.catalogue().items())
def test_every_checker_has_its_definition(name, module):
    assert module.__doc__
    assert len(module.check.__doc__) > 60
    assert f"`{name}:" in module.Params.__doc__


def test_the_catalogue_is_the_folder():
    assert set(checkers.catalogue()) == {
        "availability", "balance", "cloud_only_in_need", "continuity", "cuts", "degraded", "exercised", "failover", "failover_gap",
        "goodput", "handed_down", "latency", "overhead", "recovery", "retried",
    }  # fmt: skip

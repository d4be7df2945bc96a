"""A file without a scenario is refused with the correction; its options do not replace others."""

import argparse
import sys
from types import SimpleNamespace

import pytest

import scenarios
from contract.refusal import EXIT_BAD_INPUT, Refusal
from scenarios.run import arguments


def user(scenario="nightly", cls="NightlyUser", **more):
    given = {"scenario": scenario, "arguments": {}, "by_default": True} | more
    return type(cls, (), {k: v for k, v in given.items() if v is not None})


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"nightly": {}}, "scenarios/nightly.py: has no USER; add USER = <its class> at the end of the file"),
        (
            {"nightly": {"USER": user("daily")}},
            "scenarios/nightly.py: its class NightlyUser needs scenario = 'nightly', the file's name",
        ),
        ({"nightly": {"USER": user(None)}}, "needs scenario = 'nightly', the file's name"),
        (
            {"nightly": {"USER": user()}, "weekly": {"USER": user("weekly")}},
            "scenarios/weekly.py: its class NightlyUser has the same name as the one in scenarios/nightly.py; rename it",
        ),
    ],
)
def test_a_file_without_a_scenario_is_refused(monkeypatch, files, words):
    monkeypatch.setattr(scenarios, "names", lambda: list(files))
    for name, holds in files.items():
        monkeypatch.setitem(sys.modules, f"scenarios.{name}", SimpleNamespace(**holds))
    with pytest.raises(Refusal) as found:
        scenarios.users()
    assert words in str(found.value)


def test_a_file_that_begins_with_an_underscore_is_not_a_scenario(monkeypatch, tmp_path):
    (tmp_path / "_shared.py").write_text("")
    (tmp_path / "nightly.py").write_text("")
    monkeypatch.setattr(scenarios, "__path__", [str(tmp_path)])
    assert scenarios.names() == ["nightly"]


class Locusts(argparse.ArgumentParser):
    def add_argument(self, *flags, include_in_web_ui=True, **given):
        return super().add_argument(*flags, **given)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("topology", "option --topology exists already; use another name"),
        ("max_docs", None),
        ("max-docs", "'max-docs' is not a valid option name; write it with _ between words"),
    ],
)
def test_a_scenarios_option_is_its_own(capsys, name, words):
    parser = Locusts()
    of = {"nightly": user(arguments={name: {"type": int, "default": 3, "help": "documents"}})}
    if words is None:
        arguments.declare(parser, of)
        assert parser.parse_args(["--max-docs", "4"]).max_docs == 4
        return
    with pytest.raises(SystemExit) as ended:
        arguments.declare(parser, of)
    assert ended.value.code == EXIT_BAD_INPUT
    assert f"scenarios/nightly.py: arguments: {words}" in capsys.readouterr().err

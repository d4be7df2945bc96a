"""A wrong command line is bad input: exit code 64 from every program, and one line with the correction."""

import argparse
import importlib
import subprocess
import sys

import pytest

from contract.command_line import Parser, count_from, refuse_with_64
from embedded.engine import options as engine
from embedded.engine.personalities import load
from embedded.llamacpp import options as llamacpp
from tests.chaos.stand import ROOT

PROGRAMS = {
    "chaos": ("plan", "check", "run", "guardian", "restore", "watch", "faults", "reaper"),
    "analysis": ("report", "compare", "baseline", "check", "export", "definitions", "notebooks", "lab", "schema"),
    "embedded": ("up", "status", "down", "stack"),
    "tests.torture": (),
    "benchmarks.streams": (),
    "benchmarks.report": (),
    "benchmarks.moves": (),
    "benchmarks.soak": (),
    "benchmarks.llamacpp": (),
    "benchmarks.kept_connections": (),
}  # fmt: skip
LINES = [
    (program, line)
    for program, commands in PROGRAMS.items()
    for line in (
        ["--bogus"],
        *([command, "--bogus"] for command in commands),
        *([["nonsense"]] if commands else []),
    )
]


def _refused(program, line, monkeypatch, capsys):
    name = f"{program}.__main__" if program in ("chaos", "analysis", "embedded", "tests.torture") else program
    module = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [program, *line])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 64
    out, err = capsys.readouterr()
    assert not out
    return err


@pytest.mark.parametrize(
    ("program", "line"), LINES, ids=lambda given: given if isinstance(given, str) else " ".join(given)
)
def test_every_program_and_command_refuses_what_it_does_not_know_with_64_and_one_line(
    program, line, monkeypatch, capsys
):
    message = _refused(program, line, monkeypatch, capsys)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"python -m {program}")


@pytest.mark.parametrize(
    ("program", "line", "words"),
    [
        ("embedded", ["up", "--topologie", "x"], "no option '--topologie'; did you mean '--topology'?"),
        ("embedded", ["stack", "--topol=x"], "no option '--topol'; did you mean '--topology'?"),
        (
            "chaos",
            ["restore", "--restore-withn", "1m"],
            "no option '--restore-withn'; did you mean '--restore-within'?",
        ),
        ("analysis", ["report", "a", "b"], "unexpected argument 'b'"),
        ("tests.torture", ["--trials", "0"], "'0' is not a whole number of at least 1"),
        ("benchmarks.moves", ["--steps", "nan"], "'nan' is not a whole number of at least 1"),
    ],
)
def test_a_near_miss_gets_a_suggestion(program, line, words, monkeypatch, capsys):
    assert words in _refused(program, line, monkeypatch, capsys)


@pytest.mark.parametrize(
    "parse",
    [
        lambda line: engine.parse(line, {name: each.defaults for name, each in load().items()}, {}),
        llamacpp.parse,
    ],
    ids=["engine", "llamacpp"],
)
def test_the_program_of_an_embedded_engine_refuses_too(parse, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["--bogus"])
    assert ended.value.code == 64


def test_the_process_of_the_embedded_stack_ends_with_64():
    ended = subprocess.run(
        [sys.executable, "-m", "embedded", "--bogus"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (64, 1)


def test_the_parser_of_another_library_is_given_the_same_exit_code(capsys):
    theirs = argparse.ArgumentParser()
    theirs.add_argument("--users", type=int)
    refuse_with_64(theirs)
    with pytest.raises(SystemExit) as wrong:
        theirs.parse_args(["--users", "nan"])
    with pytest.raises(SystemExit) as helped:
        theirs.parse_args(["--help"])
    assert (wrong.value.code, helped.value.code) == (64, 0)


@pytest.mark.parametrize("text", ["nan", "inf", "1.0", "-1", "", "²", "9" * 5000, "0"])
def test_a_count_is_a_whole_number_of_at_least_so_many(text, capsys):
    line = Parser(prog="x")
    line.add_argument("--count", type=count_from(1))
    with pytest.raises(SystemExit) as ended:
        line.parse_args([f"--count={text}"])
    assert ended.value.code == 64


def test_an_option_that_was_renamed_is_refused_with_its_new_name(capsys):
    parser = Parser(prog="p")
    command = parser.add_subparsers().add_parser("run")
    command.add_argument("--restore-within")
    command.renamed("--heal-within", "--restore-within")
    for given in (["--heal-within", "20m"], ["--heal-within=20m"]):
        with pytest.raises(SystemExit) as left:
            parser.parse_args(["run", *given])
        assert left.value.code == 64
        assert "option --heal-within is --restore-within now" in capsys.readouterr().err

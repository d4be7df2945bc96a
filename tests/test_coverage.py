"""docs/coverage.md agrees with the tests, and its commands are valid."""

import re
import shlex
import subprocess
import sys

import pytest

from analysis import checkers
from analysis.judging import expectation
from chaos import plan
from contract import timeline, topology
from tests.coverage import ROOT, shown, table

TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
VARIABLES = set(re.findall(r"^([A-Z_]+) *\?=", (ROOT / "Makefile").read_text(), re.M)) | {"MORE", "TOLERANCE"}
COMMANDS = sorted({row.command for row in shown()})


def test_the_page_is_generated_from_the_tests():
    assert (ROOT / "docs/coverage.md").read_text() == table(), "python -m tests.coverage > docs/coverage.md"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(c, marks=[pytest.mark.verify] if c.startswith("python -m benchmarks") else [])
        for c in COMMANDS
    ],
)
def test_a_command_of_the_page_is_valid(command):
    program, *words = shlex.split(command)
    given = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("-"))
    if program == "make":
        assert words[0] in TARGETS
        assert set(given) <= VARIABLES
    else:
        assert [program, words[0]] == ["python", "-m"]
        helped = subprocess.run([sys.executable, *words[:3], "--help"], cwd=ROOT, capture_output=True)
        assert helped.returncode == 0
    stack = topology.read(ROOT / given.get("TOPOLOGY", "topologies/embedded.yaml"))
    if "TIMELINE" in given:
        lines = timeline.read(ROOT / given["TIMELINE"])
        expectation.bind(lines, stack, given["TIMELINE"], checkers.catalogue())
        plan.bind(lines, stack, given["TIMELINE"])

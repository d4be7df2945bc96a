"""The house rules that a test can keep: who may import whom, what is parsed, what is said about it."""

import ast
import os
import re
from pathlib import Path

import pytest

from chaos import plan
from contract import samplers, timeline, topology
from contract.schemas import REQUESTS

ROOT = Path(__file__).parent.parent
WINGS = ("scenarios", "chaos", "analysis", "embedded", "contract", "locustfile")
MAY_IMPORT = {
    "locustfile": {"scenarios", "contract"},
    "scenarios": {"contract"},
    "chaos": {"contract"},
    "analysis": {"contract"},
    "embedded": {"contract"},
    "contract": set(),
}
MUST_NOT_IMPORT = {
    "chaos": {"locust", "gevent", "pandas", "matplotlib"},
    "analysis": {"locust", "gevent", "kubernetes"},
    "contract": {"locust", "gevent", "pandas", "kubernetes"},
}


def sources(wing: str) -> list[Path]:
    return [ROOT / "locustfile.py"] if wing == "locustfile" else sorted((ROOT / wing).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_imports_only_what_it_may(wing):
    allowed = MAY_IMPORT[wing] | {wing}
    for path in sources(wing):
        wrong = (imports(path) & set(WINGS)) - allowed
        assert not wrong, (
            f"{path} imports {wrong}; {wing} may import {sorted(allowed)}: what one wing needs of another it gets as a process with files between"
        )
        heavy = imports(path) & MUST_NOT_IMPORT.get(wing, set())
        assert not heavy, f"{path} imports {heavy}, which {wing} must do without"


# The gateways' configurations stand beside the topologies that name them; the stack's tests start them.
TOPOLOGIES = [p for p in sorted((ROOT / "topologies").glob("*.yaml")) if not p.name.startswith("litellm")]


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda p: p.name)
def test_every_topology_is_parsed(path):
    found = topology.read(path)
    assert topology.read_text(topology.dump(found)) == found


@pytest.mark.parametrize("path", sorted((ROOT / "chaos/timelines").glob("*.yaml")), ids=lambda p: p.name)
def test_every_timeline_is_parsed_and_bound(path):
    """On the embedded stack, or on the topology that its first line names."""
    named = re.match(r"# For (topologies/[\w.]+):", path.read_text())
    found = timeline.read(path)
    assert plan.bind(
        found, topology.read(ROOT / (named.group(1) if named else "topologies/embedded.yaml")), path.name
    )


def test_no_wait_with_a_timeout_is_on_a_simple_queue():
    """Before Python 3.13, `SimpleQueue.get(timeout=…)` that a signal interrupts until after the timeout waits for ever."""
    files = [p for wing in WINGS for p in sources(wing)] + [ROOT / "locustfile.py"]
    assert [p for p in files if "SimpleQueue" in p.read_text()] == []


def test_every_make_target_has_its_sentence():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE).group(1).split()
    told = set(re.findall(r"^([a-z]+):.*## .+", text, re.MULTILINE))
    assert told == set(phony)


def test_every_version_is_pinned():
    for path in ROOT.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            wanted = line.split("#")[0].strip()
            assert not wanted or wanted.startswith("-r ") or "==" in wanted, f"{path.name}: {line}"


def test_every_file_of_a_run_is_explained():
    told = (ROOT / "results/README.md").read_text()
    for name in (
        "manifest.json",
        "requests.arrow",
        "probe.arrow",
        "chaos.jsonl",
        "counters.jsonl",
        "clocks.jsonl",
        *map(samplers.file, samplers.names()),
    ):
        assert f"| `{name}`" in told
    tables = {"requests.arrow and probe.arrow": REQUESTS}
    tables |= {samplers.file(name): sampler.schema for name, sampler in samplers.every().items()}
    for title, schema in tables.items():
        section = told[told.index(f"\n## {title}\n") + 1 :].partition("\n## ")[0]
        for field in schema:
            assert f"`{field.name}`" in section, f"results/README.md does not say what {field.name} is"


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_tests_that_share_something_run_in_one_process(request):
    """xdist deals out by the group behind the @; without one it deals out every test by itself."""
    assert request.node.nodeid.endswith("@tests test_house.py")

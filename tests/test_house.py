"""The house rules that a test can check: which wing may import which, what is parsed, which words are used."""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

from chaos import plan
from contract import samplers, timeline, topology
from contract.schemas import REQUESTS
from tests.parsed import nodes

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
    for node in nodes(path):
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
            f"{path} imports {wrong}; {wing} may import {sorted(allowed)}: what one wing needs of another it gets as a process, with files between them"
        )
        heavy = imports(path) & MUST_NOT_IMPORT.get(wing, set())
        assert not heavy, f"{path} imports {heavy}, which {wing} must do without"


QUANTILES = {"quantile", "quantiles", "percentile", "nanquantile", "nanpercentile"}
OURS = {"quantile", "quantiles", "stairs"}  # modules whose quantiles are those of contract/quantile.py
OF_A_STATISTIC = {  # resampled or reordered: a number between two of them is not shown as an observed value
    "analysis/compare/bootstrap.py",
    "analysis/compare/difference.py",
    "analysis/compare/likeness.py",
    "analysis/metrics/overhead.py",
}


def test_quantiles_of_observed_values_are_defined_in_one_file():
    """numpy, pandas and statistics each have a definition of their own; a report and a ramp once differed by one rank."""
    found = set()
    for path in [p for wing in (*WINGS, "benchmarks") for p in sources(wing)]:
        for node in nodes(path):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in QUANTILES
            ):
                of = node.func.value
                if not (isinstance(of, ast.Name) and of.id in OURS):
                    found.add(str(path.relative_to(ROOT)))
    assert found == OF_A_STATISTIC


def test_the_prompt_of_requests_whose_answers_are_not_read_is_in_one_file():
    """Its proper end is the cap, so that a plan, a warm-up and the probe find the same models to end early."""
    files = [p for wing in (*WINGS, "benchmarks", "tests") for p in sources(wing) if p != Path(__file__)]
    assert [p for p in files if "Count upwards" in p.read_text()] == [ROOT / "contract/prompt.py"]


DECIDES_DEADLINES = {
    "scenarios/gateway/user_context.py",  # users
    "chaos/probe/probe.py",
    "chaos/probe/serving.py",  # a plan
    "chaos/probe/verification.py",  # the verification of a restore
    "chaos/watch/command.py",
}


def test_deadlines_are_set_in_few_places_and_have_no_default():
    files = [p for wing in WINGS for p in sources(wing)]
    found = {str(p.relative_to(ROOT)) for p in files if re.search(r"\bDeadlines\(", p.read_text())}
    assert found == DECIDES_DEADLINES
    assert [p for p in files if "class Deadlines" in p.read_text()] == [ROOT / "contract/deadlines.py"]


def test_every_command_line_is_read_by_the_one_strict_parser():
    """argparse's own accepts abbreviated options, and exits with 2. Locust makes the parser of a run itself."""
    files = [p for wing in (*WINGS, "benchmarks", "tests/torture") for p in sources(wing)]
    made = {
        path
        for path in files
        for node in nodes(path)
        for one in ([node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else [])
        if "ArgumentParser" in (getattr(one, "attr", ""), getattr(one, "id", ""))
    }  # fmt: skip
    assert made == {ROOT / "contract/command_line.py"}


OTHER_CLIENTS = {"http.client", "urllib.request", "requests", "httpx"}
NO_SMALL_PAGE = {
    "benchmarks/kept_connections.py",  # it measures what a plain request costs on a kept connection
    "chaos/kube/bounded.py",  # it bounds the responses of the kubernetes package's client
}


def test_a_small_page_is_fetched_by_one_client():
    """Others follow redirects, use proxies, trust other authorities, and limit each wait only, not the whole."""
    found = set()
    for path in [p for wing in (*WINGS, "benchmarks") for p in sources(wing)]:
        for node in nodes(path):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{a.name}" for a in node.names)]
            if OTHER_CLIENTS & {*names}:
                found.add(str(path.relative_to(ROOT)))
    assert found <= NO_SMALL_PAGE


# The gateways' configurations are beside the topologies that name them; the stack's tests start them.
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
    described = set(re.findall(r"^([a-z]+):.*## .+", text, re.MULTILINE))
    assert described == set(phony)


def test_every_version_is_pinned():
    for path in ROOT.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            requirement = line.split("#")[0].strip()
            assert not requirement or requirement.startswith("-r ") or "==" in requirement, (
                f"{path.name}: {line}"
            )


def test_every_file_of_a_run_is_explained():
    page = (ROOT / "results/README.md").read_text()
    for name in (
        "manifest.json",
        "requests.arrow",
        "probe.arrow",
        "chaos.jsonl",
        "counters.jsonl",
        "clocks.jsonl",
        *map(samplers.file, samplers.names()),
    ):
        assert f"| `{name}`" in page
    tables = {"requests.arrow and probe.arrow": REQUESTS}
    tables |= {samplers.file(name): sampler.schema for name, sampler in samplers.every().items()}
    for title, schema in tables.items():
        section = page[page.index(f"\n## {title}\n") + 1 :].partition("\n## ")[0]
        for field in schema:
            assert f"`{field.name}`" in section, f"results/README.md does not explain {field.name}"


OLD_WORDS = {
    *("ask", "asks", "asked", "asking", "asker", "mend", "mends", "mended", "mender", "mending", "whoever"),
    *("conductor", "conductors", "curtain", "curtains", "trouble", "troubles"),
}
OLD_PAIR = ("nobody", "knows")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
READ = {".py", ".md", ".yaml", ".ipynb", ".js", ".j2", ".html"}
OLD_WORD_MAY_STAND = {  # (file or folder, word) → why
    ("contract/handles/command.py", "mend"): "refuses the old key of a handle and names the new one",
    ("chaos/undo/journal.py", "mend"): "reads undo records of runs before format 5",
    ("chaos/__main__.py", "mend"): "refuses --mend-within and names the new option",
    ("tests/chaos/test_journal.py", "mend"): "an undo record of a run before format 5",
    ("tests/contract/test_command_line.py", "mend"): "an option that is refused with its new name",
    ("tests/contract/test_inputs.py", "mend"): "a key that is refused with its new name",
    **{("tests/embedded/recorded", word): "recorded exchanges of a real API server" for word in OLD_WORDS},
    **{("scenarios/documents", word): "documents that are classified" for word in OLD_WORDS},
    **{("tests/test_house.py", word): "this list" for word in (*OLD_WORDS, " ".join(OLD_PAIR))},
}  # fmt: skip


def old_words(text: str) -> list[tuple[int, str]]:
    """(line, word) of each, also inside identifiers; the pair may be divided by a line's end."""
    found, before = [], ""
    for at, line in enumerate(text.splitlines(), 1):
        for word in (match.lower() for match in WORD.findall(line)):
            if word in OLD_WORDS:
                found.append((at, word))
            if (before, word) == OLD_PAIR:
                found.append((at, " ".join(OLD_PAIR)))
            before = word
    return found


def test_old_words_are_found_in_prose_and_in_identifiers():
    text = "it asks\nasked_for nobody\nknows\nreAsk TROUBLE_S HTTPMender\ntask mask recommend amend askew"
    assert old_words(text) == [
        (1, "asks"), (2, "asked"), (3, "nobody knows"), (4, "ask"), (4, "trouble"), (4, "mender"),
    ]  # fmt: skip


def test_no_old_word_is_left():
    """One word for one thing: request, restore, error. A file's path is its line 0."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("this is not a git clone")
    left = []
    for name in tracked.stdout.split("\0")[:-1]:
        path = ROOT / name
        if (path.suffix in READ or path.name in ("Makefile", "pyproject.toml")) and path.is_file():
            allowed = {word for of, word in OLD_WORD_MAY_STAND if name == of or name.startswith(f"{of}/")}
            found = [(0, word) for _, word in old_words(name)] + old_words(path.read_text())
            left += [f"{name}:{line}: {word}" for line, word in found if word not in allowed]
    assert not left, "\n".join([f"{len(left)} old words", *left])


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_tests_that_share_something_run_in_one_process(request):
    """xdist distributes by the group after the @; without one it distributes every test separately."""
    assert request.node.nodeid.endswith("@tests test_house.py")

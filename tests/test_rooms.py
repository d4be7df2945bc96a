"""Rules for folders (rooms): a folder is a concept, few may import heavy packages, and no two import each other."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parsed import nodes

ROOT = Path(__file__).parent.parent
WINGS = ("analysis", "chaos", "contract", "embedded", "scenarios")
LINES = 400
# package → the rooms that import it
MAY_IMPORT = {
    "kubernetes": {"chaos/kube"},
    "locust": {"scenarios", "scenarios/gateway", "scenarios/gateway/distributed", "scenarios/run", "scenarios/shapes"},
    "pandas": {"analysis"},
    "matplotlib": {"analysis/figures", "analysis/compare/figures"},
}  # fmt: skip


def files() -> Iterator[Path]:
    for wing in WINGS:
        yield from sorted((ROOT / wing).rglob("*.py"))


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, known: set[str]) -> Iterator[str]:
    """The modules of the project that a file imports, at any level."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


def room(name: str, packages: set[str]) -> str:
    """The folder that a module is in; a file beside the rooms of its wing is a room of its own."""
    if name in packages:
        return name
    folder = name.rpartition(".")[0]
    return name if folder in WINGS else folder


@pytest.mark.parametrize("folder", [*WINGS, "benchmarks", "tests"])
def test_no_file_is_too_long(folder):
    long = {str(p.relative_to(ROOT)): n for p in sorted((ROOT / folder).rglob("*.py"))
            if (n := len(p.read_text().splitlines())) > LINES}  # fmt: skip
    assert not long, f"more than {LINES} lines; split by concept: {long}"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_heavy_package_is_imported_in_few_rooms(package):
    found = set()
    for path in files():
        for node in nodes(path):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [getattr(node, "module", None) or ""]
            )
            if isinstance(node, ast.Import | ast.ImportFrom) and package in {n.split(".")[0] for n in names}:
                found.add(path.parent.relative_to(ROOT))
    allowed = MAY_IMPORT[package]
    wrong = {str(f) for f in found if not {str(f), *map(str, f.parents)} & allowed}
    assert not wrong, f"{package} is imported in {wrong}; it may be in {allowed}"


def test_no_two_rooms_import_each_other():
    """Except a room and one inside it."""
    paths = {module(p): p for p in files()}
    packages = {module(p) for p in files() if p.name == "__init__.py"}
    needs: dict[str, set[str]] = defaultdict(set)
    for name, path in paths.items():
        for other in imported(path, set(paths)):
            a, b = room(name, packages), room(other, packages)
            if a != b and not a.startswith(b + ".") and not b.startswith(a + "."):
                needs[a].add(b)
    order: list[str] = []
    on_the_way: list[str] = []

    def visit(at: str) -> None:
        assert at not in on_the_way, (
            f"a circle of rooms: {' → '.join([*on_the_way[on_the_way.index(at) :], at])}"
        )
        if at in order:
            return
        on_the_way.append(at)
        for other in sorted(needs[at]):
            visit(other)
        order.append(on_the_way.pop())

    for start in sorted(paths):
        visit(room(start, packages))

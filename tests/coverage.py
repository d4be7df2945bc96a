"""Which of the systems that operators have are shown to work, by which command, and what that was tried on.

A test says so of itself with `@pytest.mark.shows(item, command, on=…)`; `python -m tests.coverage` prints the table, which
is docs/coverage.md. A row is there as long as the test is, and no longer.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
ITEMS = {
    "degraded": "Documents are classified while degraded, and as rightly as before",
    "watch": "The failover demo: one request every few seconds, and a banner at each change",
    "gpu_mode": "One GPU between games and the engine",
    "kserve": "OpenShift and KServe: the predictor scaled as `oc scale` does",
    "systemd": "One host under systemd, and the gateway's own restart",
    "llamacpp": "llama.cpp as a tier of its own",
    "balancing": "Several deployments in one group: shares, and one of them gone",
    "order": "A group with an order: the cloud's deployment answers only in need",
    "capacity": "The highest rate within the objective, tier by tier",
}
TRIED_ON = (
    "embedded", "real LiteLLM", "real engine", "real server", "real systemd", "recorded exchanges", "a stand-in",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    item: str
    command: str
    on: str
    test: str  # path::name
    verify: bool  # of make verify; else of make test


def shown() -> list[Shown]:
    """All rows, in the order of the items."""
    found = [row for path in sorted((ROOT / "tests").rglob("test_*.py")) for row in _of(path)]
    return sorted(found, key=lambda row: (list(ITEMS).index(row.item), row.command, row.test))


def _of(path: Path) -> Iterator[Shown]:
    text = path.read_text()
    if "mark.shows" not in text:
        return
    tree = ast.parse(text)
    whole_file = any(
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "pytestmark"
        and "verify" in ast.unparse(node.value)
        for node in tree.body
    )
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        marks = {ast.unparse(mark) for mark in node.decorator_list}
        for mark in node.decorator_list:
            if not isinstance(mark, ast.Call) or ast.unparse(mark.func) != "pytest.mark.shows":
                continue
            item, command = (ast.literal_eval(arg) for arg in mark.args)
            (on,) = (ast.literal_eval(k.value) for k in mark.keywords if k.arg == "on")
            place = f"{path.relative_to(ROOT)}::{node.name}"
            assert item in ITEMS, f"{place}: no item {item!r}; there are {', '.join(ITEMS)}"
            for word in on.split(" + "):
                assert word in TRIED_ON, f"{place}: on={word!r}; there are {', '.join(TRIED_ON)}"
            yield Shown(item, command, on, place, whole_file or "pytest.mark.verify" in marks)


def table() -> str:
    """docs/coverage.md."""
    rows = shown()
    lines = [
        "# What is shown, and on what",
        "",
        "Each line is a test of this repository that says so of itself: the command by which an operator sees the thing, and",
        "what it was tried on. *embedded*: the simulated engines behind the API server of this project. *real LiteLLM*, *real",
        "engine*, *real server*, *real systemd*: the thing itself. *recorded exchanges*: as a real server answered once. *a stand-in*:",
        "a program of the tests' own in its place. What is not here was not shown. Made by `python -m tests.coverage`.",
    ]
    for item, title in ITEMS.items():
        lines += ["", f"## {title}", ""]
        mine = [row for row in rows if row.item == item]
        if not mine:
            lines.append("Not shown.")
            continue
        lines += ["| command | tried on | test | run by |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{row.command}` | {row.on} | `{row.test}` | `make {'verify' if row.verify else 'test'}` |"
            for row in mine
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")

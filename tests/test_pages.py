"""Pages for operators: their links work, and their lists are complete."""

import re
from pathlib import Path

import pytest

from contract import refusal

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "results/README.md"]
TARGETS = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
# Targets for work on the project itself; usage.md is for operators.
OF_THE_PROJECT = {"setup", "test", "check", "bench", "help"}
CODES = {value for name, value in vars(refusal).items() if name.startswith("EXIT_")}


def anchors(page: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_works(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(to), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_make_command_is_a_target(page):
    given = set(re.findall(r"(?:`|^    )make ([a-z]+)", page.read_text(), re.MULTILINE))
    assert given <= TARGETS


def test_the_page_of_commands_lists_every_target_for_operators():
    given = set(re.findall(r"`make ([a-z]+)", (ROOT / "docs/usage.md").read_text()))
    assert given == TARGETS - OF_THE_PROJECT


def test_the_readme_has_the_exit_codes():
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {int(row) for row in rows} == CODES


def test_the_readme_is_read_in_two_minutes():
    text = re.sub(r"\]\([^)]*\)", "]", (ROOT / "README.md").read_text())
    assert len(re.findall(r"\w[\w'’.-]*", text)) < 700


def test_each_way_through_the_code_names_files_that_exist_and_none_twice():
    section = (
        (ROOT / "docs/design.md")
        .read_text()
        .partition("**Two ways through the code.**")[2]
        .partition("\n**")[0]
    )
    ways = section.split("\n\n*")[1:]
    assert len(ways) == 2
    for way in ways:
        files = re.findall(r"`([\w/]+\.py)`", way)
        assert len(files) == len(set(files)) > 8, way
        assert [f for f in files if not (ROOT / f).is_file()] == []

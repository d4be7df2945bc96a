"""The notebooks: they define nothing, carry no outputs, run on a small run, and their pages need no network."""

import ast
import importlib
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from analysis import notebook
from analysis.__main__ import main
from contract.refusal import EXIT_INTERNAL_ERROR
from tests.synthetic import make
from tests.synthetic_world import Hole

BOOKS = sorted(notebook.NOTEBOOKS.glob("*.ipynb"))
NAMES = [*notebook.OF_ONE_RUN, notebook.OF_TWO_RUNS]
PICTURES = {"per_tier_latency": 2, "failover_gap": 3, "throughput": 3, "compare": 3}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make(tmp_path_factory.mktemp("small"), [Hole("s", "vllm", 8, 8, hole_s=1)], duration_s=24, pairs=8)


@pytest.fixture(scope="module")
def page(small):
    """The page of a notebook, executed once; compare.ipynb on a run and itself."""
    written = {}

    def of(name):
        if name not in written:
            two = name == notebook.OF_TWO_RUNS
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(notebook, "OF_ONE_RUN", () if two else (name,))
                against = ["--against", str(small.path)] if two else []
                assert main(["notebooks", str(small.path), *against]) == 0
            written[name] = small.path / "report" / "notebooks" / f"{name}.html"
        return written[name]

    return of


@pytest.fixture(scope="module")
def nbformat():
    return importlib.import_module("nbformat")  # takes seconds, which each process that collects would pay


def read(path):
    nbformat = importlib.import_module("nbformat")
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    return book


def shown(path):
    """What each cell shows that ends in a value, executed in this process."""
    names, values = {}, []
    for cell in read(path).cells:
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
            tree = ast.parse("\n".join(lines))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, path.name, "exec"), names)
            if last is not None:
                values.append(eval(compile(ast.Expression(last.value), path.name, "eval"), names))
    return values


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_the_cells_of_a_notebook_run_and_show_its_pictures(small, monkeypatch, path):
    for name in ("RUN", "A", "B"):
        monkeypatch.setenv(name, str(small.path))
    first, *others = shown(path)
    assert small.path.name in str(first)
    assert sum(isinstance(value, Figure) for value in others) == PICTURES[path.stem]


def test_these_are_the_notebooks():
    assert {p.stem for p in BOOKS} == set(NAMES)


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_a_notebook_defines_nothing_and_carries_no_outputs(path):
    book = read(path)
    assert set(book.metadata) == {"kernelspec"}
    assert book.metadata.kernelspec.name == "python3"
    for cell in book.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
            lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
            found = {type(node) for node in ast.walk(ast.parse("\n".join(lines)))}
            assert not found & {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda}, cell.source
            assert len(lines) <= 12, f"a cell is short:\n{cell.source}"


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_a_notebook_explains_each_figure_and_its_bad_signs(path):
    text = ""
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            text = cell.source
        elif ".draw(" in cell.source:
            assert re.search(r"\*Bad signs?:\*", text), cell.source


def test_stripping_takes_out_what_a_run_has_put_in(tmp_path, nbformat):
    clean = BOOKS[0].read_text()
    book = nbformat.reads(clean, as_version=4)
    for n, cell in enumerate(c for c in book.cells if c.cell_type == "code"):
        cell.execution_count = n
        cell.outputs = [nbformat.v4.new_output("stream", text="x")]
        cell.metadata["execution"] = {"iopub.execute_input": "2026-11-24T12:00:00Z"}
    book.metadata["language_info"] = {"name": "python", "version": "3.11.2"}
    nbformat.write(book, tmp_path / "book.ipynb")
    notebook.strip([tmp_path / "book.ipynb"])
    assert json.loads((tmp_path / "book.ipynb").read_text()) == json.loads(clean)


@pytest.mark.verify
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_leaves_its_page_and_its_pictures(page, small, name):
    folder = page(name).parent
    assert len(list(folder.glob(f"{name}-*.png"))) == PICTURES[name]
    assert (folder / f"{name}-1.png").read_bytes().startswith(b"\x89PNG")
    text = page(name).read_text()
    assert text.count("data:image/png;base64,") == PICTURES[name]
    assert small.path.name in text
    assert "Warning" not in text


@pytest.mark.verify
@pytest.mark.parametrize("name", NAMES)
def test_a_page_needs_no_network(page, name):
    wants = Wants()
    wants.feed(page(name).read_text())
    assert wants.scripts == 0
    assert wants.from_elsewhere == []
    assert "default-src 'none'" in wants.policy


@pytest.mark.verify
def test_a_run_compared_with_itself_shows_no_difference(page):
    text = page(notebook.OF_TWO_RUNS).read_text()
    assert "No difference found" in text
    assert "B is worse" not in text


def test_every_notebook_is_run_and_without_another_run_nothing_is_compared(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(notebook, "write", lambda name, given, out, report: written.append((name, given)))
    of_one = [(name, {"RUN": str(tmp_path)}) for name in notebook.OF_ONE_RUN]
    notebook.write_all(tmp_path, None, tmp_path / "out")
    assert written == of_one
    written.clear()
    notebook.write_all(tmp_path, tmp_path / "before", tmp_path / "out")
    assert written == [
        *of_one,
        (notebook.OF_TWO_RUNS, {"A": str(tmp_path / "before"), "B": str(tmp_path)}),
    ]


def test_a_cell_that_throws_is_reported_with_its_text_and_ends_the_command(
    small, tmp_path, monkeypatch, nbformat, capsys
):
    cells = [
        nbformat.v4.new_code_cell("first = 1"),
        nbformat.v4.new_code_cell("first / 0  # a cell's text"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "per_tier_latency.ipynb")
    monkeypatch.setattr(notebook, "NOTEBOOKS", tmp_path)
    assert main(["notebooks", str(small.path)]) == EXIT_INTERNAL_ERROR
    message = capsys.readouterr().err
    assert "per_tier_latency.ipynb" in message
    assert "first / 0  # a cell's text" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "\x1b" not in message


def test_the_lab_is_for_this_machine_alone_and_fetches_no_news(small, tmp_path, monkeypatch):
    begun, stripped = [], []

    def begin(argv, env):
        begun.append((argv, env))
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(notebook.subprocess, "Popen", begin)
    monkeypatch.setattr(notebook.signal, "signal", lambda *_: None)
    monkeypatch.setattr(notebook, "strip", stripped.extend)
    assert main(["lab", str(small.path)]) == 0
    argv, environment = begun[0]
    assert {
        "--ServerApp.ip=127.0.0.1",
        "--LabApp.news_url=None",
        "--LabApp.extension_manager=readonly",
    } <= set(argv)
    assert not [a for a in argv if "token" in a or "password" in a]  # it draws one itself
    assert environment["RUN"] == str(small.path)
    assert {p.stem for p in stripped} == set(NAMES)


def test_what_the_notebooks_leave_is_explained():
    assert "`report/notebooks/`" in (notebook.ROOT / "results" / "README.md").read_text()


def test_no_such_run_is_bad_input(capsys):
    assert main(["notebooks", "no-such-run"]) == 64
    assert "no-such-run" in capsys.readouterr().err


def test_what_is_not_installed_is_named(monkeypatch, small, capsys):
    monkeypatch.setattr(notebook, "find_spec", lambda name: None if name == "nbconvert" else object())
    assert main(["notebooks", str(small.path)]) == 64
    assert "nbconvert is not installed; run make .venv/notebooks" in capsys.readouterr().err


class Wants(HTMLParser):
    """What a browser would fetch of a page."""

    def __init__(self):
        super().__init__()
        self.scripts, self.from_elsewhere, self.policy = 0, [], ""

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.scripts += tag == "script"
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        urls = [found[a] for a in ("src", "srcset", "data", "poster") if found.get(a)]
        urls += [found["href"]] if tag == "link" else []
        self.from_elsewhere += [u[:80] for u in urls if not u.startswith("data:")]

    def handle_data(self, data):
        if "@import" in data or "url(" in data:
            self.from_elsewhere.append(data[:80])

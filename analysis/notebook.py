"""Runs the notebooks on a run. Each yields one HTML page that needs no network, and its pictures beside it.

A notebook is executed unchanged, in its own kernel, with the run in its environment (RUN; for compare.ipynb A and B). It
defines nothing: the rest of analysis computes what it shows.
"""

import base64
import html
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from analysis.progress import OnProgress, no_progress
from contract import textfile
from contract.refusal import Refusal
from contract.run import write_whole

NOTEBOOKS = Path(__file__).parent / "notebooks"
ROOT = Path(__file__).parent.parent
OF_ONE_RUN = ("per_tier_latency", "failover_gap", "throughput")
OF_TWO_RUNS = "compare"
CELL_S = 900.0  # timeout of one cell
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
STYLE = """
body { margin: 0; background: #fff; color: #222; font: 16px/1.5 "DejaVu Sans", system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
h1, h2 { line-height: 1.25; } h2 { margin-top: 2.5rem; }
img { max-width: 100%; height: auto; }
pre { overflow-x: auto; margin: 0.5rem 0; font-size: 0.85rem; line-height: 1.4; }
.highlight { background: #f6f7f8; border-left: 3px solid #d5d9dd; padding: 0.1rem 0.8rem; }
table { border-collapse: collapse; font-size: 0.8rem; margin: 0.8rem 0; }
th, td { padding: 0.22rem 0.5rem; border-bottom: 1px solid #e3e3e3; text-align: right; white-space: nowrap; }
.output_html { overflow-x: auto; }
.output_stream pre, .output_text pre { white-space: pre-wrap; }
.anchor-link { display: none; }
""".strip()


_COLOUR = re.compile("\x1b\\[[0-9;]*m")


class CellFailed(Exception):
    """A cell raised an exception: the notebook, the cell's text, the exception."""


def write_all(
    run: Path, against: Path | None, out: Path, on_progress: OnProgress = no_progress
) -> list[Path]:
    """Run every notebook on this run, into the folder `out`; compare.ipynb (A is `against`, B this run) only if there is
    another run. Returns the pages. Raises CellFailed after all have been tried, and Refusal if a requirement of the notebooks is
    not installed."""
    books = [(name, {"RUN": str(run)}) for name in OF_ONE_RUN]
    if against is not None:
        books.append((OF_TWO_RUNS, {"A": str(against), "B": str(run)}))
    textfile.refuse_link(out)
    out.mkdir(parents=True, exist_ok=True)
    pages, failed = [], []
    for name, given in books:
        try:
            pages.append(write(name, given, out, on_progress))
        except Refusal:
            raise
        except Exception as e:  # the others do not depend on it
            failed.append(str(e) if isinstance(e, CellFailed) else f"{name}: {type(e).__name__}: {e}")
    if failed:
        raise CellFailed("\n".join(failed))
    return pages


def write(name: str, given: Mapping[str, str], out: Path, on_progress: OnProgress = no_progress) -> Path:
    """Run one notebook: `name.html`, and `name-1.png` … in the order in which it shows them."""
    executed = execute(NOTEBOOKS / f"{name}.ipynb", given, on_progress)
    for old in out.glob(f"{name}-*.png"):
        old.unlink()
    for n, picture in enumerate(pictures(executed), 1):
        write_whole(out / f"{name}-{n}.png", picture)
    page = out / f"{name}.html"
    write_whole(page, as_html(executed, f"{name}: {', '.join(Path(g).name for g in given.values())}"))
    return page


def execute(path: Path, given: Mapping[str, str], on_progress: OnProgress = no_progress) -> Any:
    """The notebook with the outputs of its cells. Raises CellFailed."""
    _must_be_installed()
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from traitlets.config import Config

    book = nbformat.read(path, as_version=4)

    def begins(cell: Any, cell_index: int) -> None:
        on_progress(f"notebook {path.stem}", cell_index / len(book.cells))

    with tempfile.TemporaryDirectory() as home:  # a report must not depend on the operator's IPython settings
        # Unix sockets of this user instead of ports that any user of the machine can connect to.
        ipc = Config({"KernelManager": {"transport": "ipc", "ip": f"{home}/kernel"}})
        client = NotebookClient(
            book, timeout=CELL_S, kernel_name="python3", record_timing=False, on_cell_start=begins,
            resources={"metadata": {"path": str(ROOT)}}, config=ipc,
        )  # fmt: skip
        try:
            client.execute(env={**os.environ, **given, "IPYTHONDIR": home, "PYTHONPATH": str(ROOT)})
        except CellExecutionError as e:
            raise CellFailed(f"{path}: {_COLOUR.sub('', str(e))}") from None
    return book


def pictures(executed: Any) -> list[bytes]:
    """The PNG images of its cells, in order."""
    outputs = [o for cell in executed.cells for o in cell.get("outputs", ())]
    found = [o["data"].get("image/png") for o in outputs if "data" in o]
    return [base64.b64decode(data) for data in found if data]


def as_html(executed: Any, title: str) -> str:
    """One page without scripts and external resources; its content security policy enforces that.

    nbconvert's own page fetches MathJax, Mermaid and require.js, so only the cells are used.
    """
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(executed)
    body = _without_scripts(body)
    style = f"{STYLE}\n{HtmlFormatter(style='default').get_style_defs('.highlight')}"
    return PAGE.format(title=html.escape(title), style=style, body=body)


def _without_scripts(body: str) -> str:
    """Without each text from `<script` to its end. A search for the end from each beginning would take quadratic time."""
    first, *rest = body.split("<script")
    return first + "".join(part.partition("</script>")[2] for part in rest)


def lab(run: Path) -> int:
    """Run Jupyter Lab on the notebooks until it ends, on localhost and with its own token. Returns its exit code.

    It does not fetch news, updates or extensions. Its kernels run in the project's root, with RUN in their environment. At the
    end, the outputs are removed from saved notebooks: they are not part of the project.
    """
    _must_be_installed()
    environment = {**os.environ, "RUN": str(run), "PYTHONPATH": str(ROOT)}
    settings = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={NOTEBOOKS}",
        f"--MappingKernelManager.root_dir={ROOT}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]
    child = subprocess.Popen([sys.executable, "-m", "jupyterlab", *settings], env=environment)
    signal.signal(
        signal.SIGINT, _leave_to_it
    )  # Jupyter Lab gets Ctrl-C too: it prompts at the first and ends at the second
    signal.signal(signal.SIGTERM, partial(_pass_on, child))
    try:
        return child.wait()
    finally:
        strip(sorted(NOTEBOOKS.glob("*.ipynb")))


def _leave_to_it(*_: object) -> None:
    pass


def _pass_on(child: "subprocess.Popen[bytes]", *_: object) -> None:
    child.terminate()


def strip(books: Sequence[Path]) -> None:
    """Remove the outputs and execution metadata from the notebooks."""
    more = "metadata.language_info cell.metadata.execution"
    subprocess.run(
        [sys.executable, "-m", "nbstripout", "--keep-id", "--extra-keys", more, *map(str, books)], check=True
    )


def _must_be_installed() -> None:
    missing = [n for n in ("nbclient", "nbconvert", "ipykernel", "jupyterlab") if find_spec(n) is None]
    if missing:
        raise Refusal(
            f"notebooks need more packages than a run: {missing[0]} is not installed; run make .venv/notebooks"
        )

"""Writes RUN/report/. Everything in it is derived: it may be deleted, and the same command writes it again."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from analysis import part_errors
from analysis.columnar import columns
from analysis.evidence import Evidence
from analysis.judging import reconciliation, verdict
from analysis.judging.verdict import Verdict
from analysis.part_errors import Thrown
from analysis.progress import OnProgress, no_progress
from analysis.reporting import csv_text, summary, tables
from contract import textfile
from contract.refusal import Refusal
from contract.run import write_whole

FOLDER = "report"


def write(run: Evidence, found: Verdict, on_progress: OnProgress = no_progress) -> Path:
    """Write the report of a run; returns its folder. A part that raises is left out with a note; errors.txt has its traceback."""
    folder = make_folder(run.frames.path)
    try:
        _write(run, found, folder, on_progress)
    except OSError as e:
        raise Refusal(f"{folder}: cannot be written: {e.strerror or e}; remove it, or make room") from None
    return folder


def _write(run: Evidence, found: Verdict, folder: Path, on_progress: OnProgress) -> None:
    # Imported here: callers that need only the verdict do not load matplotlib.
    from analysis import figures, html

    on_progress("writing tables", None)
    write_whole(folder / "verdict.json", json.dumps(verdict.as_json(found, run), indent=1) + "\n")
    write_whole(folder / "junit.xml", verdict.as_junit(found))
    try:
        made = {name: _table(run, name, make) for name, make in TABLES.items()}
        for name, table in made.items():
            if table is not None:
                write_whole(folder / f"{name}.csv", csv_text.as_csv(table))
        write_whole(folder / "summary.md", summary.markdown(run, found))
        columns.release_memory()
        figures.write_all(run, folder, on_progress)
        columns.release_memory()
        on_progress("writing report.html", None)
        write_whole(folder / html.NAME, html.page(run, found, made))
    finally:
        _keep(run.thrown, folder)


def _table(run: Evidence, name: str, make: Callable[[Evidence], pd.DataFrame | None]) -> pd.DataFrame | None:
    made = run.thrown.guarded(f"{name}.csv", lambda: make(run), lambda error: None)
    columns.release_memory()
    return made


def _documents(run: Evidence) -> pd.DataFrame | None:
    return tables.documents(run) if run.documents else None


TABLES: dict[str, Callable[[Evidence], pd.DataFrame | None]] = {
    "summary": tables.summary,
    "failover": tables.failovers,
    "phases": tables.phases,
    "reconciliation": reconciliation.table,
    "documents": _documents,
}


def _keep(threw: Thrown, folder: Path) -> None:
    """Write errors.txt if anything raised; else remove that of an earlier report."""
    if threw.found:
        write_whole(folder / part_errors.NAME, threw.text())
    else:
        (folder / part_errors.NAME).unlink(missing_ok=True)


def make_folder(run: Path) -> Path:
    """RUN/report/. Raises Refusal if it is a link, which would lead elsewhere, or cannot be made."""
    folder = run / FOLDER
    textfile.refuse_link(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as e:
        raise Refusal(f"{folder}: cannot create it: {e.strerror}; make the run's folder writable") from None
    return folder

"""report.html: the report of a run in one file that needs no network.

Nothing is computed here: the numbers come from `Evidence` and from the tables beside the page (CSV). Text from operators and
servers is escaped. The page's content security policy forbids loading anything.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.evidence import Evidence
from analysis.html import (
    checks,
    documents,
    drawn,
    headline,
    inputs,
    meanings,
    pictures,
    prose,
    tiers,
    timeline,
    trials,
)
from analysis.judging.verdict import Verdict, as_text
from analysis.part_errors import NAME as ERRORS
from analysis.reporting import summary as sentences

NAME = "report.html"
_HERE = Path(__file__).parent


def page(run: Evidence, verdict: Verdict, tables: Mapping[str, pd.DataFrame | None]) -> str:
    """The whole page. `tables`: those of summary.csv, failover.csv and phases.csv, by these names without `.csv`.

    A part that raises an exception is left out, and the top of the page lists it. If the page itself cannot be made, a page with
    only the verdict replaces it.
    """
    return run.thrown.guarded(
        "report.html", lambda: _whole(run, verdict, tables), lambda error: _bare(run, verdict)
    )


def _whole(run: Evidence, verdict: Verdict, tables: Mapping[str, pd.DataFrame | None]) -> str:
    frames = run.frames
    chosen = drawn.choose(frames.requests)
    part = partial(_part, run)
    parts: dict[str, Any] = {
        "load": part("load", lambda: sentences.load(run)),
        "tiers": [
            *part("per tier", lambda: tiers.tables(run, _there(tables, "summary"))),
            *part("documents", lambda: documents.tables(run)),
        ],
        "quality": part("quality", lambda: sentences.quality(run)),
        "trials": part(
            "per trial", lambda: trials.tables(run, _there(tables, "failover"), _there(tables, "phases"))
        ),
        "checks": part("self-checks", lambda: checks.tables(run)),
        "trust": part("trust", lambda: checks.sentences(run)),
        "pictures": part("pictures", lambda: pictures.pictures(run)),
        "files": part("inputs", lambda: inputs.files(frames)),
        "facts": part("facts", lambda: inputs.facts(frames)),
    }
    return _environment().get_template("page.html.j2").render(
        run=frames.name,
        started=inputs.utc(frames.started_at),
        top=headline.headline(run, verdict),
        expectations=headline.rows(verdict),
        exit_code=verdict.exit_code,
        drawn=chosen,
        marks=timeline.marks(frames.tiers),
        meanings=(("Expectations", meanings.expectations()), ("Metrics", meanings.metrics())),
        timeline_json=_json(timeline.payload(run, chosen)),
        client_json=_json(checks.client(frames.samples["client"], frames.started_at, frames.ended_at)),
        plotly=Markup(get_plotlyjs()),
        **parts,
        failed_parts=run.thrown.parts(),
        errors=ERRORS,
    )  # fmt: skip


def _part(run: Evidence, name: str, make: Callable[[], Any]) -> Any:
    return run.thrown.guarded(f"report.html: {name}", make, lambda error: [])


def _there(tables: Mapping[str, pd.DataFrame | None], name: str) -> pd.DataFrame:
    found = tables.get(name)
    if found is None:
        raise LookupError(f"{name}.csv could not be made")
    return found


def _bare(run: Evidence, verdict: Verdict) -> str:
    """The fallback when the page cannot be made: the verdict, as on the terminal."""
    return Markup(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{status}: {run}</title></head>\n<body>'
        '<h1>{status}: {run}</h1>\n<p>This page could not be made; <a href="{errors}">{errors}</a> has the traceback.</p>\n'
        "<pre>{text}</pre>\n</body></html>\n"
    ).format(status=verdict.status, run=run.frames.name, errors=ERRORS, text=as_text(verdict))


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"inline": prose.inline, "paragraphs": prose.paragraphs}
    made.globals["file"] = lambda name: Markup((_HERE / name).read_text())  # our own stylesheet and scripts
    return made


def _json(value: Any) -> Markup:
    """JSON for a <script>, escaped so that no text can end the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))

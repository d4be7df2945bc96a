"""report.html: one file that opens without a network and tells a run to whoever must decide by it or defend it.

Nothing is computed here: the numbers come from `Evidence` and from the tables that lie beside the page as CSV. Everything
that an operator or a server wrote is escaped; the page's own policy lets the browser load nothing from anywhere.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis import page as sentences
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
from analysis.verdict import Verdict

NAME = "report.html"
_HERE = Path(__file__).parent


def page(run: Evidence, verdict: Verdict, tables: Mapping[str, pd.DataFrame]) -> str:
    """The whole page. `tables`: those of summary.csv, failover.csv and phases.csv, by these names without `.csv`."""
    frames = run.frames
    chosen = drawn.choose(frames.asks)
    return _environment().get_template("page.html.j2").render(
        run=frames.name,
        started=inputs.utc(frames.started_at),
        top=headline.headline(run, verdict),
        expectations=headline.rows(verdict),
        exit_code=verdict.exit_code,
        load=sentences.load(run),
        drawn=chosen,
        marks=timeline.marks(frames.tiers),
        tiers=[*tiers.tables(run, tables["summary"]), *documents.tables(run)],
        quality=sentences.quality(run),
        trials=trials.tables(run, tables["failover"], tables["phases"]),
        checks=checks.tables(run),
        trust=checks.sentences(run),
        pictures=pictures.pictures(run),
        files=inputs.files(frames),
        facts=inputs.facts(frames),
        meanings=(("Expectations", meanings.expectations()), ("Metrics", meanings.metrics())),
        timeline_json=_json(timeline.payload(run, chosen)),
        client_json=_json(checks.client(frames.client, frames.started_at, frames.ended_at)),
        plotly=Markup(get_plotlyjs()),
    )  # fmt: skip


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
    """For a <script>: no text in it can end that element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))

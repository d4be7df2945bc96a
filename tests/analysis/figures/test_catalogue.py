"""The catalogue of figures: each is drawn for every run, even an almost empty one, and writes a picture and its numbers."""

import random
import re
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import figures, frames
from analysis.evidence import Evidence
from analysis.figures import timeline
from tests.analysis.reports import pictures
from tests.synthetic import make, rounds, three_tier
from tests.synthetic_documents import classify
from tests.synthetic_world import START, VLLM, Hole

EXPECT = {"failover": {"step": "gone", "to": "ollama", "max_s": 5}, "recovery": {"max_s": 60}}
DEGRADED = {"degraded": {"step": "gone", "to": "ollama", "max_drop": 0.15}}
GONE = Hole("gone", "vllm", at=20, length=20, hole_s=0.6, sticky_s=3)


def nine(path):
    spread = random.Random(3)
    steps = [replace(h, hole_s=spread.uniform(0.2, 1.5)) for h in rounds(GONE, 9, 60)]
    return make(path, steps, duration_s=570, pairs=8, rate=1, probe_rate=2, expect=EXPECT)


RUNS = {
    "as it ought to go": three_tier,
    "nine trials": nine,
    "no fallback": lambda path: make(path, [replace(GONE, hole_s=60)], duration_s=80, expect=EXPECT),
    "no requests": lambda path: make(
        path, [GONE], rate=0, probe_rate=0, pairs=0, duration_s=60, expect=EXPECT
    ),
    "one tier": lambda path: make(path, [replace(GONE, hole_s=0)], duration_s=80, engines=(VLLM,)),
    "documents": lambda path: make(
        path, [GONE], duration_s=60, expect=EXPECT | DEGRADED,
        extra=classify([GONE], {"vllm": 0.9, "ollama": 0.8, "openai": 1.0}, 20, duration_s=60),
    ),
    "documents of one tier": lambda path: make(
        path, duration_s=20, expect=DEGRADED, extra=classify([], {"vllm": 1.0}, 3, duration_s=20)
    ),
    "no fault": lambda path: make(path, duration_s=60),
    "cut short": lambda path: make(
        path, [GONE], duration_s=30, status=None, expect=EXPECT,
        events=[e for e in GONE.events("x") if e.at < START + 30],
    ),
    "nothing at all": lambda path: make(path, rate=0, probe_rate=0, pairs=0, health=False, duration_s=1),
}  # fmt: skip


# The fast tests draw of the richest runs and of the poorest; the report of test_report.py is of the first run.
FAST = ("nine trials", "documents", "nothing at all")


@pytest.fixture(
    scope="module", params=[pytest.param(n, marks=() if n in FAST else pytest.mark.verify) for n in RUNS]
)
def run(request, tmp_path_factory):
    made = RUNS[request.param](tmp_path_factory.mktemp("run"))
    return Evidence(frames.read(made.path))


@pytest.mark.parametrize("name", figures.catalogue())
def test_a_figure_is_drawn_of_every_run_and_its_title_describes_it(run, name, tmp_path, monkeypatch):
    monkeypatch.setattr(figures.style, "DPI", 50)  # fewer pixels; its layout is in inches
    module = figures.catalogue()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table, title, drawn = module.data(run), module.title(run), module.draw(run)
        figures.style.save(drawn, tmp_path / "it.png")
    assert isinstance(drawn, Figure)
    assert title.startswith("Nothing to show: ") == table.empty
    if table.empty:
        assert "nothing to show" in drawn.get_suptitle()
    else:
        assert " ".join(drawn.get_suptitle().split()) == " ".join(title.split())
    assert "nan" not in title
    assert "None" not in title
    assert list(table.columns) == list(dict.fromkeys(table.columns))
    assert len(table.columns) > 1


def test_no_figure_takes_the_name_of_another_file_of_a_report():
    exported = {"requests", "classified", "covered", "warmup", "health", "client", "events"}
    taken = {"summary", "failover", "phases", "documents", "reconciliation", *exported}
    assert not taken & set(figures.catalogue())


@pytest.mark.parametrize("name", figures.catalogue())
def test_a_figure_documents_how_to_read_it(name):
    module = figures.catalogue()[name]
    assert module.draw.__doc__.startswith("How to read it: ")
    assert module.data.__doc__


def test_every_figure_is_listed_in_the_results_readme():
    readme = (Path(__file__).parents[3] / "results/README.md").read_text()
    section = readme.partition("## The figures")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(figures.catalogue())


def test_a_figure_that_throws_costs_no_report(tmp_path, monkeypatch):
    def draw(run):
        raise KeyError("latency")

    monkeypatch.setattr(timeline, "draw", draw)
    run = Evidence(frames.read(make(tmp_path, rate=1, probe_rate=0, pairs=0, duration_s=10).path))
    with pictures("timeline", "ttft_itl"):
        figures.write_all(run, tmp_path)
    for name in ("timeline", "ttft_itl"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
        assert len(pd.read_csv(tmp_path / f"{name}.csv"))
    assert run.thrown.parts() == ["figure timeline (KeyError: 'latency')"]

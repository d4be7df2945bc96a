"""A sampler is one file: it is run, written, read and exported by its name, and users of its table find it by that name."""

import shutil
import sys
import time

import gevent
import pandas as pd
import pytest

from analysis import checkers, export, figures, frames
from analysis.__main__ import main
from chaos.recording import Recording as ChaosRecording
from chaos.sampling import Sampling
from chaos.stop import Stop
from contract import samplers
from contract.clock import Clock
from scenarios.gateway.recording import Memory, Recording
from tests.analysis.reports import pictures
from tests.scenarios.user_contexts import topology, user_context
from tests.synthetic import make

SAMPLER = """
import os
from dataclasses import dataclass

from contract.sampler import Process, Sampler, Source


@dataclass
class Disk:
    at: float
    folder: str
    free: float | None


def sources(given):
    def rows():
        found = os.statvfs("/")
        return [Disk(given.clock.now(), "/", found.f_bavail / found.f_blocks)]

    return [Source("/", rows)]


SAMPLER = Sampler(Disk, every_s=0.01, process=Process.{process}, sources=sources)
"""
CHECKER = '''
"""So much of the disk stays free."""

from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, Status


class Params(Common):
    """`disk_free: {min_share: 0.1}`"""

    min_share: float


def check(params, run):
    """In each sample, at least `min_share` of the disk is free."""
    free = run.frames.samples["disk"]["free"]
    status = Status.PASS if free.min() >= params.min_share else Status.FAIL
    return Finding("disk_free", params.id, "enough is free", f"in {len(free)} samples", status, evidence="disk.arrow")
'''
FIGURE = '''
from analysis.figures import style


def data(run):
    return run.frames.samples["disk"][["at", "free"]]


def title(run):
    return f"The disk was looked at {len(data(run))} times"


def draw(run):
    """How to read it: what share of the disk was free."""
    made = style.figure()
    made.add_subplot().plot(data(run)["at"], data(run)["free"])
    style.title(made, title(run), run, f"n = {len(data(run))}")
    return made
'''


def until(what, sleep):
    over = time.monotonic() + 30
    while not what():
        assert time.monotonic() < over
        sleep(0.01)


def sampled_by_chaos(folder):
    stop = Stop()
    recording = ChaosRecording(folder, stop)
    sampling = Sampling(topology("http://127.0.0.1:9"), Clock(), recording.sample, stop)
    sampling.start()
    until(lambda: ("disk", "/") in sampling.latest, time.sleep)
    sampling.stop()
    recording.close()
    assert stop.reason is None


def sampled_by_the_load_generator(folder):
    failures = []
    recording = Recording(lambda: 0, user_context("http://127.0.0.1:9"), folder, Memory(), failures.append)
    until(lambda: samplers.read(folder, "disk")[0].num_rows, gevent.sleep)
    recording.close()
    assert failures == []


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Adds a member to a catalogue, from a folder of its own."""

    def add(catalogue, name, text):
        folder = tmp_path / catalogue.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(catalogue, "__path__", [*catalogue.__path__, str(folder)])
        monkeypatch.delitem(sys.modules, f"{catalogue.__name__}.{name}", raising=False)

    return add


@pytest.mark.parametrize(
    ("process", "sampled"),
    [
        ("CHAOS", sampled_by_chaos),
        ("RUN", sampled_by_the_load_generator),
    ],
)
def test_a_sampler_is_one_file_and_so_is_a_checker_or_a_figure_of_its_table(
    process, sampled, added, tmp_path
):
    """Files that it took: one for the sampler (`samplers/disk.py`), and none was changed.

    The checker (`checkers/disk_free.py`) and the figure (`figures/disk.py`) are one file each.
    """
    added(samplers, "disk", SAMPLER.format(process=process))
    folder = tmp_path / "run"
    folder.mkdir()
    sampled(folder)
    world = make(tmp_path / "results", duration_s=20, expect={"disk_free": {"min_share": 0.0}})
    shutil.copytree(world.path, folder, dirs_exist_ok=True)  # all else that a run has

    added(checkers, "disk_free", CHECKER)
    added(figures, "disk", FIGURE)
    found = frames.read(folder)
    table = found.samples["disk"]
    assert list(table) == ["at", "folder", "free"]
    assert len(table) >= 1
    assert table["free"].between(0, 1).all()
    export.export(found, tmp_path / "out", [export.PARQUET])
    assert pd.read_parquet(tmp_path / "out" / "disk.parquet").equals(table)
    with pictures("disk"):
        main(["report", str(folder), "--quiet"])
    assert "disk_free" in (folder / "report" / "summary.md").read_text()
    assert (folder / "report" / "disk.png").exists()
    assert len(pd.read_csv(folder / "report" / "disk.csv")) == len(table)
    page = (folder / "report" / "report.html").read_text()
    assert f"in {len(table)} samples" in page
    assert f"The disk was looked at {len(table)} times" in page


def test_a_run_that_was_recorded_before_there_was_a_sampler_has_its_table_without_rows(tmp_path, added):
    made = make(tmp_path / "results", duration_s=5)
    added(samplers, "disk", SAMPLER.format(process="CHAOS"))
    found = frames.read(made.path)
    assert found.torn == ()
    assert (list(found.samples["disk"]), len(found.samples["disk"])) == (["at", "folder", "free"], 0)
    assert (list(found.samples["gauges"]), len(found.samples["gauges"])) == (
        ["at", "tier", "kv_cache", "running", "waiting"], 0,
    )  # fmt: skip

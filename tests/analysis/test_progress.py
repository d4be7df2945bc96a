"""Progress of long work: a bar on a terminal, lines elsewhere, nothing for short work."""

import io
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import figures, frames, judge, progress, report
from analysis.evidence import Evidence
from tests.synthetic import three_tier

ROOT = Path(__file__).parents[2]


class Kept:
    every_s = 10.0

    def __init__(self):
        self.shown = []

    def show(self, what, done, elapsed_s):
        self.shown.append((what, done, elapsed_s))


def test_nothing_is_shown_of_what_is_over_within_two_seconds():
    kept = Kept()
    latest = progress.Latest(100.0, 2.0, kept)
    latest.update("reading", 0.1)
    for at in (100.2, 101.0, 101.9):
        latest.tick(at)
    assert kept.shown == []


def test_lines_are_ten_seconds_apart_and_show_the_last_report():
    kept = Kept()
    latest = progress.Latest(100.0, 2.0, kept)
    for n in range(300):
        latest.update("reading requests.arrow", n / 300)
        latest.tick(100.0 + n / 10)
    assert [s for _, _, s in kept.shown] == pytest.approx([2.0, 12.0, 22.0])
    assert [d for _, d, _ in kept.shown] == pytest.approx([20 / 300, 120 / 300, 220 / 300])


def test_before_the_first_report_nothing_is_shown():
    kept = Kept()
    progress.Latest(100.0, 2.0, kept).tick(200.0)
    assert kept.shown == []


@pytest.mark.parametrize(
    ("done", "line"), [(0.4, "reading requests.arrow: 40 %\n"), (None, "reading requests.arrow: 7 s\n")]
)
def test_a_line_has_the_share_or_how_long_it_has_been(done, line):
    out = io.StringIO()
    progress._Lines(out).show("reading requests.arrow", done, 7.2)
    assert out.getvalue() == line


def test_into_a_pipe_go_lines():
    read, write = os.pipe()
    with open(read) as told_to, open(write, "w") as out:
        with progress.shown(out, after_s=0.0) as on_progress:
            on_progress("reading requests.arrow", 0.4)
            line = told_to.readline()
        out.close()
        assert line == "reading requests.arrow: 40 %\n"
        assert "\r" not in told_to.read()


def test_on_a_terminal_there_is_a_bar_that_is_taken_away():
    terminal, side = pty.openpty()
    with open(side, "w") as out:
        with progress.shown(out, after_s=0.0) as on_progress:
            on_progress("judging", 0.4)
            seen = until(terminal, "40 %")
        seen += rest(terminal)
    os.close(terminal)
    assert re.search(r"judging: +40 %\|█+", seen)
    assert "\n" not in seen
    assert seen.endswith("\r")
    assert seen.rstrip("\r").endswith(" ")


def test_a_bar_that_knows_no_share_counts_seconds():
    terminal, side = pty.openpty()
    with open(side, "w") as out, progress.shown(out, after_s=0.0) as on_progress:
        on_progress("judging", None)
        seen = until(terminal, "00:0")
    os.close(terminal)
    assert re.search(r"judging … 00:0\d", seen)


def test_what_goes_wrong_takes_the_bar_away_and_is_heard():
    out = io.StringIO()
    with pytest.raises(KeyError), progress.shown(out, after_s=0.0):
        raise KeyError("x")


def test_each_reports_every_item_before_its_turn():
    reports = []
    assert list(progress.each(lambda *a: reports.append(a), "drawing", ["a", "b"])) == ["a", "b"]
    assert reports == [("drawing a", 0.0), ("drawing b", 0.5)]


def test_a_report_shows_each_of_its_stages(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "write_one", lambda *_: None)
    reports = []
    run = Evidence(frames.read(three_tier(tmp_path).path, lambda *a: reports.append(a)))
    found = judge.judge(run, lambda *a: reports.append(a))
    report.write(run, found, lambda *a: reports.append(a))
    words = [what for what, _ in reports]
    assert words[:3] == ["reading requests.arrow", "reading probe.arrow", "judging failover"]
    assert [w for w in words if w.startswith("drawing ")] == [f"drawing {n}" for n in figures.catalogue()]
    assert all(done is None or 0 <= done <= 1 for _, done in reports)


def test_standard_output_stays_clean():
    program = (
        "import sys, time\nfrom analysis import progress\n"
        "with progress.shown(sys.stderr, after_s=0.0) as on_progress:\n"
        "    on_progress('drawing', 0.5); time.sleep(0.5)\n"
        "print('the result')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "the result\n"
    assert done.stderr == "drawing: 50 %\n"


def until(terminal, words):
    seen = ""
    while words not in seen:
        assert select.select([terminal], [], [], 30)[0], f"only {seen!r} came"
        seen += os.read(terminal, 4096).decode()
    return seen


def rest(terminal):
    seen = ""
    while select.select([terminal], [], [], 0)[0]:
        seen += os.read(terminal, 4096).decode()
    return seen

"""A report of a run that is still being written: it covers a complete beginning of the run and is marked as running."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import frames, judge
from analysis.__main__ import main
from analysis.evidence import Evidence
from contract.run import ArrowFile, read_arrow
from contract.schemas import REQUESTS
from tests.analysis.appending import AHEAD, AWAITED, BATCH, PIECES, record, writer
from tests.analysis.reports import pictures
from tests.synthetic import make
from tests.synthetic_world import START, Hole

HOLE = Hole("gone", "vllm", 10, 10)
READINGS = 10


@pytest.fixture
def going_on(tmp_path):
    """A run that was opened and not closed, without the file that is still to be written."""
    made = make(tmp_path, [HOLE], duration_s=30, status=None, probe_rate=0)
    (made.path / "requests.arrow").unlink()
    return made.path


def is_a_whole_beginning(requests):
    """Whether these are the first so many records, whole batches of them and each as it was written."""
    assert len(requests) % BATCH == 0
    number = np.arange(len(requests))
    assert (requests["request_id"] == [f"req-1a2b-{n:07d}" for n in number]).all()
    assert (requests["sent_at"] == START + number / 100).all()
    assert np.allclose(requests["ttft_ms"], 100 + number % 7 * 10)
    assert np.allclose(requests["latency_ms"], 101 + number % 7 * 10 + 9 * (10 + number % 5 * 10))
    assert requests["good"].all()
    return True


@pytest.mark.parametrize(
    "slowly",
    [
        pytest.param(False, id="batch after batch", marks=pytest.mark.verify),
        pytest.param(True, id="piece after piece"),
    ],
)
def test_what_is_read_while_it_is_written_is_a_whole_beginning_and_grows(going_on, slowly):
    with writer(going_on / "requests.arrow", slowly) as wait:
        seen = [0]
        for _ in range(READINGS):
            run = frames.read(going_on)
            assert is_a_whole_beginning(run.requests)
            assert set(run.torn) <= {"requests.arrow"}
            assert "still running" in run.cut_short
            assert len(run.requests) > seen[-1]
            seen.append(len(run.requests))
            wait(AWAITED)
        wait(None)
        rests = (
            (READINGS + 1) * AHEAD * AWAITED
        )  # so many pieces of a slow one are there: the last batch is not whole
        assert rests % PIECES
        assert frames.read(going_on).torn == (("requests.arrow",) if slowly else ())
    run = frames.read(going_on)
    assert is_a_whole_beginning(run.requests)
    assert len(run.requests) > seen[-1]
    assert run.torn == (("requests.arrow",) if slowly else ())  # the writer was ended where it rested


@pytest.mark.verify
def test_each_report_of_a_running_run_is_marked_and_has_more_than_the_one_before(going_on):
    folder, counts = going_on / "report", []
    with writer(going_on / "requests.arrow", slowly=True) as wait:
        for _ in range(3):
            with pictures():
                assert main(["report", str(going_on), "--quiet"]) == 5  # unknown: there is more to come
            written = json.loads((folder / "verdict.json").read_text())
            page = (folder / "report.html").read_text()
            summary = (folder / "summary.md").read_text()
            assert all("still running" in text for text in (written["cut_short"], page, summary))
            assert set(written["torn"]) <= {"requests.arrow"}
            for text in (page, summary):
                assert ("torn tails were skipped" in text.lower()) == bool(written["torn"])
            counts.append(int(pd.read_csv(folder / "summary.csv")["n"].sum()))
            wait(50)
    assert all(count % BATCH == 0 for count in counts)
    assert counts == sorted(set(counts))


def test_a_run_cut_in_its_last_batch_has_those_before_and_reports_it(going_on):
    path = going_on / "requests.arrow"
    file, sizes = ArrowFile(path, REQUESTS), []
    for first in range(0, 3 * BATCH, BATCH):
        file.append([record(first + i) for i in range(BATCH)])
        sizes.append(path.stat().st_size)
    whole, (_, begins, ends) = path.read_bytes(), sizes
    near = [*range(begins, begins + 40), *range(begins + 40, ends - 40, 211), *range(ends - 40, ends + 1)]
    for length in near:
        path.write_bytes(whole[:length])
        table, torn = read_arrow(path, REQUESTS)
        assert table.num_rows == (3 if length == ends else 2) * BATCH
        assert torn == (length not in sizes)
        if length in (begins, begins + 1, near[len(near) // 2], ends - 1, ends):
            run = frames.read(going_on)
            assert len(run.requests) == table.num_rows
            assert is_a_whole_beginning(run.requests)
            assert run.torn == (("requests.arrow",) if torn else ())
    path.write_bytes(whole[: ends - 1])
    found = judge.judge(Evidence(frames.read(going_on)))
    assert "torn tails skipped: requests.arrow" in next(f.evidence for f in found.findings if f.name == "run")

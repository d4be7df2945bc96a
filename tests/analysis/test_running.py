"""A report of a run that is still being written: it is of a whole beginning of the run, and says that it goes on."""

import itertools
import json
import multiprocessing
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from analysis import frames, report
from analysis.__main__ import main
from analysis.evidence import Evidence
from contract.records import GATEWAY, REQUESTS, Ask, Lane
from contract.run import ArrowFile
from tests.synthetic import START, Hole, answer, make

HOLE = Hole("gone", "vllm", 10, 10)
BATCH = 40  # records
PIECES = 4  # of a batch
EVERY_S = 0.004  # what the writer waits between two batches, or two pieces
# It may write three times as many of them as are waited for, so that a slow reader is not outrun; 39 pieces, at the end
# of which a writer that outran the reader stands in the midst of a batch three times of four.
AWAITED, AHEAD = 13, 3


def ask(number):
    """Every field tells which record it is of."""
    made = Ask(
        f"ask-1a2b-{number:07d}", "chat", Lane.LOAD, GATEWAY, True, START + number / 100, START + number / 100,
        max_tokens=10, output_tokens=10, worker="w1",
    )  # fmt: skip
    return answer(made, "vllm", 0.1 + number % 7 / 100, [0.01 + number % 5 / 100] * 9)


def append_until(stop, may, wrote, path, slowly):
    def ended():
        while not stop.wait(EVERY_S):
            if may.acquire(timeout=0.1):
                return False
        return True

    made = path.with_suffix(".made") if slowly else path
    file = ArrowFile(made, REQUESTS)
    with open(made, "rb") as appended, open(path, "ab", buffering=0) as disk:
        for number in itertools.count(step=BATCH):
            records = [ask(number + i) for i in range(BATCH)]
            if slowly:
                file.append(records)
                batch = appended.read()
                for piece in range(PIECES):
                    if ended():
                        return
                    disk.write(batch[piece * len(batch) // PIECES : (piece + 1) * len(batch) // PIECES])
                    wrote.release()
            elif ended():
                return
            else:
                file.append(records)
                wrote.release()


@contextmanager
def writer(path, slowly):
    """Another process that appends batch after batch to this file; given: waits until it has written so often from now on.

    `slowly`: the disk takes a batch in four pieces, and the writer is ended in the midst of one.
    """
    context = multiprocessing.get_context("spawn")
    stop, may, wrote = context.Event(), context.Semaphore(0), context.Semaphore(0)
    process = context.Process(target=append_until, args=(stop, may, wrote, path, slowly))
    process.start()

    def wait(times):
        while wrote.acquire(block=False):
            pass
        for _ in range(AHEAD * times):
            may.release()
        for _ in range(times):
            assert wrote.acquire(timeout=60)

    try:
        wait(AWAITED)  # a batch at least is there
        yield wait
    finally:
        stop.set()
        process.join(60)
        assert process.exitcode == 0


@pytest.fixture
def going_on(tmp_path):
    """A run that was opened and not closed, without the file that is still to be written."""
    made = make(tmp_path, [HOLE], duration_s=30, status=None, probe_rate=0)
    (made.path / "requests.arrow").unlink()
    return made.path


def is_a_whole_beginning(asks):
    """Whether these are the first so many records, whole batches of them and each as it was written."""
    assert len(asks) % BATCH == 0
    number = np.arange(len(asks))
    assert (asks["request_id"] == [f"ask-1a2b-{n:07d}" for n in number]).all()
    assert asks["sent_at"].to_numpy() == pytest.approx(START + number / 100)
    assert asks["ttft_ms"].to_numpy() == pytest.approx(100 + number % 7 * 10)
    assert asks["latency_ms"].to_numpy() == pytest.approx(101 + number % 7 * 10 + 9 * (10 + number % 5 * 10))
    assert asks["good"].all()
    return True


@pytest.mark.parametrize("slowly", [False, True], ids=["batch after batch", "piece after piece"])
def test_what_is_read_while_it_is_written_is_a_whole_beginning_and_grows(going_on, slowly):
    with writer(going_on / "requests.arrow", slowly) as wait:
        seen, torn = [0], []
        for _ in range(25):
            run = frames.read(going_on)
            assert is_a_whole_beginning(run.asks)
            assert set(run.torn) <= {"requests.arrow"}
            assert "still running" in run.cut_short
            assert len(run.asks) > seen[-1]
            seen.append(len(run.asks))
            torn += run.torn
            wait(AWAITED)
    run = frames.read(going_on)
    assert is_a_whole_beginning(run.asks)
    assert len(run.asks) > seen[-1]
    if slowly:
        assert torn  # some were read in the midst of a batch
    else:
        assert run.torn == ()  # the writer was ended between two


def test_each_report_of_a_running_run_says_so_and_has_more_than_the_one_before(going_on):
    folder, counts = going_on / "report", []
    with writer(going_on / "requests.arrow", slowly=True) as wait:
        for _ in range(3):
            assert main(["report", str(going_on), "--quiet"]) == 5  # unknown: there is more to come
            told = json.loads((folder / "verdict.json").read_text())
            page = (folder / "report.html").read_text()
            summary = (folder / "summary.md").read_text()
            assert all("still running" in text for text in (told["cut_short"], page, summary))
            assert set(told["torn"]) <= {"requests.arrow"}
            for text in (page, summary):
                assert ("torn tails were skipped" in text.lower()) == bool(told["torn"])
            counts.append(int(pd.read_csv(folder / "summary.csv")["n"].sum()))
            wait(50)
    assert all(count % BATCH == 0 for count in counts)
    assert counts == sorted(set(counts))


def test_a_run_cut_in_the_midst_of_its_last_batch_has_those_before_and_says_it(going_on):
    path = going_on / "requests.arrow"
    file, sizes = ArrowFile(path, REQUESTS), []
    for first in range(0, 3 * BATCH, BATCH):
        file.append([ask(first + i) for i in range(BATCH)])
        sizes.append(path.stat().st_size)
    whole, (_, begins, ends) = path.read_bytes(), sizes
    near = [*range(begins, begins + 40), *range(begins + 40, ends - 40, 211), *range(ends - 40, ends + 1)]
    for length in near:
        path.write_bytes(whole[:length])
        run = frames.read(going_on)
        assert len(run.asks) == (3 if length == ends else 2) * BATCH
        assert is_a_whole_beginning(run.asks)
        assert run.torn == (() if length in sizes else ("requests.arrow",))
    path.write_bytes(whole[: ends - 1])
    found = report.judge(Evidence(frames.read(going_on)))
    assert "torn tails skipped: requests.arrow" in next(f.evidence for f in found.findings if f.name == "run")

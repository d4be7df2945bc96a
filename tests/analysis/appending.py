"""Another process that appends to a run's file while a test reads it. It imports little, because it starts in every test."""

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path

from contract.records import GATEWAY, Lane, RequestRecord
from contract.run import ArrowFile
from contract.schemas import REQUESTS
from tests.synthetic_world import START, answer

BATCH = 40  # records
PIECES = 4  # of a batch
EVERY_S = 0.004  # what the writer waits between two batches, or two pieces
# It may write three times as many of them as are waited for, so that a slow reader is not outrun.
AWAITED, AHEAD = 13, 3


def record(number: int) -> RequestRecord:
    """A record with its number in every field."""
    made = RequestRecord(
        f"req-1a2b-{number:07d}", "chat", Lane.LOAD, GATEWAY, True, START + number / 100, START + number / 100,
        max_tokens=10, output_tokens=10, worker="w1",
    )  # fmt: skip
    return answer(made, "vllm", 0.1 + number % 7 / 100, [0.01 + number % 5 / 100] * 9)


def append_until(stop: Event, may: Semaphore, wrote: Semaphore, path: Path, slowly: bool) -> None:
    def ended() -> bool:
        while not stop.wait(EVERY_S):
            if may.acquire(timeout=0.1):
                return False
        return True

    made = path.with_suffix(".made") if slowly else path
    file = ArrowFile(made, REQUESTS)
    with open(made, "rb") as appended, open(path, "ab", buffering=0) as disk:
        for number in itertools.count(step=BATCH):
            records = [record(number + i) for i in range(BATCH)]
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
def writer(path: Path, slowly: bool) -> Iterator[Callable[[int | None], None]]:
    """The process, on this file; given: waits until it has written so often from now on; with None, until it has written all
    that it may, and rests.

    `slowly`: the disk takes a batch in four pieces, and the writer is ended in the midst of one.
    """
    context = multiprocessing.get_context("spawn")
    stop, may, wrote = context.Event(), context.Semaphore(0), context.Semaphore(0)
    process = context.Process(target=append_until, args=(stop, may, wrote, path, slowly))
    process.start()

    left = 0

    def wait(times: int | None) -> None:
        nonlocal left
        if times is None:
            times = left
        else:
            while wrote.acquire(block=False):
                left -= 1
            for _ in range(AHEAD * times):
                may.release()
            left += AHEAD * times
        for _ in range(times):
            assert wrote.acquire(timeout=150)
            left -= 1

    try:
        wait(AWAITED)  # a batch at least is there
        yield wait
    finally:
        stop.set()
        process.join(150)
        assert process.exitcode == 0

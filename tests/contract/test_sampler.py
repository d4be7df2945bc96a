"""A sampler is one file: when its samples come, and what the catalogue holds of each."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from contract import samplers
from contract.sampler import Process, Source, sampled

ROOT = Path(__file__).parents[2]


class Time:
    """Advances by the duration of samples and waits, and by `held_s` more in the waits with these numbers."""

    def __init__(self, held: dict[int, float]) -> None:
        self.at, self.held, self.waits = 100.0, held, 0

    def now(self) -> float:
        return self.at

    def wait(self, seconds: float) -> bool:
        self.waits += 1
        self.at += seconds + self.held.get(self.waits, 0.0)
        return self.waits == 4


@pytest.mark.parametrize(
    ("takes_s", "held", "expected"),
    [
        (0.0, {}, [("row", 100.0), ("row", 101.0), ("row", 102.0), ("row", 103.0)]),
        (0.75, {}, [("row", 100.0), ("row", 101.0), ("row", 102.0), ("row", 103.0)]),
        (0.0, {2: 0.5}, [("row", 100.0), ("row", 101.0), ("row", 102.5), ("row", 103.5)]),
        (0.0, {2: 5}, [("row", 100.0), ("row", 101.0), ("unknown", 102.0), ("row", 107.0), ("row", 108.0)]),
        (1.5, {}, [("row", 100.0), ("row", 101.5), ("row", 103.0), ("row", 104.5)]),
    ],
    ids=["at once", "slow", "a little late", "held up", "slower than its pace"],
)
def test_a_sample_comes_at_its_pace_and_one_that_was_missed_is_not_known(takes_s, held, expected):
    time = Time(held)

    def rows() -> list[tuple[str, float]]:
        found = [("row", time.at)]
        time.at += takes_s
        return found

    source = Source("one", rows, lambda due: [("unknown", due)])
    assert [row for found in sampled(source, 1.0, time.now, time.wait) for row in found] == expected


@pytest.mark.parametrize("name", samplers.names())
def test_every_row_has_its_instant_and_one_of_each_load_generator_its_worker(name):
    sampler = samplers.find(name)
    columns = [field.name for field in fields(sampler.record)]
    assert columns[0] == "at"
    assert ("worker" in columns) is (sampler.process is Process.EACH)
    assert sampler.schema.names == columns
    assert sampler.every_s > 0


def test_no_sampler_has_the_name_of_another_table():
    others = {
        "requests",
        "probe",
        "classified",
        "covered",
        "warmup",
        "events",
        "clocks",
        "counters",
        "ledger",
    }
    assert not others & set(samplers.names())


def test_the_catalogue_is_imported_without_what_only_a_process_that_samples_needs():
    program = f"""
import sys
from contract import samplers
assert sorted(samplers.every()) == {samplers.names()}
assert not {{"locust", "gevent", "psutil", "kubernetes", "pandas"}} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr

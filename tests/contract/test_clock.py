"""One clock a run: it never steps, and the processes of one machine share its anchor."""

import re
from pathlib import Path

import pytest

from contract.clock import SHARED, Clock, boot, share, shared

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_a_stepped_wall_clock_changes_nothing(step_s):
    wall, monotonic = [1000.0], [5.0]
    clock = Clock(lambda: wall[0], lambda: monotonic[0])
    wall[0] += step_s
    monotonic[0] += 2
    assert clock.now() == 1002.0
    assert clock.at(6.0) == 1001.0


def test_a_pause_between_the_readings_moves_the_anchor_by_half_of_it_at_most():
    readings = iter([5.0, 6.0])
    assert Clock(lambda: 1000.0, lambda: next(readings)).anchor_s == pytest.approx(994.5)


def test_a_child_of_the_same_boot_has_the_very_same_clock(monkeypatch):
    monkeypatch.setenv(SHARED, "")
    clock = Clock(lambda: 1000.0)
    share(clock)
    assert shared().anchor_s == clock.anchor_s


@pytest.mark.parametrize("value", ["", "another-boot 5.0"])
def test_what_another_machine_shared_is_not_taken(monkeypatch, value):
    monkeypatch.setenv(SHARED, value)
    assert shared().anchor_s == pytest.approx(Clock().anchor_s, abs=0.1)
    assert boot()


MAY_READ_THE_WALL_CLOCK = {
    "contract/clock.py": "the one anchor",
    "scenarios/gateway/wire/connection.py": "the kernel stamps what it received by the wall clock",
    "scenarios/gateway/wire/receive_time.py": "and this tells it in monotonic time, or not at all where it was stepped",
    "chaos/__main__.py": "the reaper lives for months, and reads a clock that is kept right",
    "chaos/host/pidfile.py": "the kernel tells when a process began as seconds since boot",
    "embedded/apiserver/cluster.py": "creationTimestamp and its like, as an API server tells them",
    "embedded/stack.py": "waits for a Lease's deadline, which is a wall clock's",
    "embedded/engine/openai.py": "`created`, as engines tell it",
    "embedded/engine/personalities/ollama.py": "`created_at`, as engines tell it",
}
WALL = re.compile(
    r"\btime\.time\b|\bdatetime\.now\b|\bdatetime\.utcnow\b|\bdatetime\.datetime\.now\b|\btime_ns\b"
)


def test_only_the_clock_reads_the_wall_clock():
    wings = ("scenarios", "chaos", "analysis", "embedded", "contract")
    files = [ROOT / "locustfile.py", *(f for wing in wings for f in sorted((ROOT / wing).rglob("*.py")))]
    found = {str(f.relative_to(ROOT)) for f in files if WALL.search(f.read_text())}
    assert found == set(MAY_READ_THE_WALL_CLOCK)

"""Every cell of the matrix once; some of them with the fast tests. `make torture` runs each twenty times, and starts
a new process each time."""

import pytest

from tests.torture.bench import Bench
from tests.torture.cells import matrix
from tests.torture.trial import run

CELLS = matrix()
# Each restorer once (controller, guardian, reaper, restore by hand), and some of the obstacles: the long tests have all.
HANDFUL = (
    "KILL of the group · in effect",
    "KILL · mid-restore",
    "TERM twice · in effect",
    "both killed reaper",
    "both killed restore",
    "up and down again",
    "disk full",
    "API 502 · restore",
    "credentials rotated mid-fault",
    "admission changes the inject · KILL · mid-inject",
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    found = Bench(tmp_path_factory.mktemp("bench"), forked=True)
    yield found
    found.close()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in HANDFUL else [pytest.mark.verify]) for n in CELLS]
)
def test_whatever_happens_the_target_comes_back(bench, name):
    row = run(bench, name, 0, CELLS)
    assert row["restored"], row["why"]


def test_the_handful_is_of_the_matrix():
    assert set(HANDFUL) <= set(CELLS)

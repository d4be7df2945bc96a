"""Every cell of the torture once; a handful of them with the fast tests. `make torture` does each twenty times, and starts
every process anew."""

import pytest

from tests.torture.bench import Bench
from tests.torture.cells import matrix
from tests.torture.trial import run

CELLS = matrix()
# Each way back once (controller, guardian, reaper, restore by hand), and some of what may stand in it: the long tests have all.
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

"""Groups of tests that run in one process, and the order in which the groups start.

Tests that share something expensive (a stack, a cluster, a report) run in one process. The longest groups start first: a long
one at the end would make all other processes wait. xdist keeps this order with --no-loadscope-reorder.
"""

import gc
import os
from collections import Counter
from typing import Any

import pytest

# Several processes run tests: their threads would wait for one another. Set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The groups that take longest, longest first; all others start after them.
LONGEST = (
    "stack",
    "torture 0",
    "torture 1",
    "torture 2",
    "whole test_ui.py",
    "whole test_one_record.py",
    "whole test_bad_input.py",
    "embedded test_llamacpp.py",
    "scenarios test_open_loop.py",
    "scenarios test_classify.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by xdist before it starts a worker."""
    from tests import forked  # after the environment of its fork servers is set

    node.workerinput["fork_servers"] = forked.addresses()


def pytest_configure(config: pytest.Config) -> None:
    from tests import forked

    forked.share(getattr(config, "workerinput", {}).get("fork_servers", {}))
    # Collected tests live to the end: Python would search them for garbage repeatedly.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000)  # data frames make many objects that are not garbage


@pytest.hookimpl(tryfirst=True)  # before xdist, which reads the groups in this hook too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    torture_count: Counter[bool] = Counter()
    groups: dict[pytest.Item, str] = {}
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark is not None:  # the test names its group itself
            groups[item] = mark.args[0] if mark.args else mark.kwargs["name"]
            continue
        folder = item.path.parent.name
        if isinstance(item, pytest.Function) and "shared" in item.fixturenames and folder == "whole":
            groups[item] = "stack"  # one gateway for all of them
        elif folder == "torture":
            slow = item.get_closest_marker("verify") is not None
            groups[item] = f"torture {torture_count[slow] % 3}"  # a cluster for each process
            torture_count[slow] += 1
        else:
            groups[item] = f"{folder} {item.path.name}"
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    rank = {group: n for n, group in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(groups[item], len(rank)))

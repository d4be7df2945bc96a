"""Which tests are walked by one process, where several walk, and in which order they are begun.

Those that share something dear (a stack, a cluster, a report) are walked by one process, and the dearest begin: what
begins last should be short, or all but one process wait for its end. xdist keeps to this order with
--no-loadscope-reorder.
"""

import gc
import os
from collections import Counter
from typing import Any

import pytest

# Several processes walk the tests: the threads of each would wait for those of the others. Before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The groups that take longest, longest first; those that are not named come after them.
DEAREST = (
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
    """xdist is about to start a process that walks the tests."""
    from tests import forked  # after the environment of its nests is set

    node.workerinput["nests"] = forked.addresses()


def pytest_configure(config: pytest.Config) -> None:
    from tests import forked

    forked.share(getattr(config, "workerinput", {}).get("nests", {}))
    # What is collected lives to the end: Python would look through all of it again and again for garbage.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000)  # data frames make much that is no garbage


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this hook too, and would find none
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    of_torture: Counter[bool] = Counter()
    groups: dict[pytest.Item, str] = {}
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark is not None:  # it says itself with which others it shares something
            groups[item] = mark.args[0] if mark.args else mark.kwargs["name"]
            continue
        folder = item.path.parent.name
        if isinstance(item, pytest.Function) and "shared" in item.fixturenames and folder == "whole":
            groups[item] = "stack"  # one gateway for all of them
        elif folder == "torture":
            slow = item.get_closest_marker("verify") is not None
            groups[item] = f"torture {of_torture[slow] % 3}"  # a cluster for each process
            of_torture[slow] += 1
        else:
            groups[item] = f"{folder} {item.path.name}"
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    rank = {group: n for n, group in enumerate(DEAREST)}
    items.sort(key=lambda item: rank.get(groups[item], len(rank)))

"""Which tests are walked by one process, where several walk: those of one file, which share a cluster, a server, a stack."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for n, item in enumerate(items):
        if item.get_closest_marker("xdist_group"):
            continue  # it says itself with which others it shares something
        part = item.path.parent.name
        if part == "whole":
            group = part  # one gateway for all of them
        elif part == "torture":
            group = f"{part} {n % 3}"  # a cluster for each process
        else:
            group = f"{part} {item.path.name}"
        item.add_marker(pytest.mark.xdist_group(group))

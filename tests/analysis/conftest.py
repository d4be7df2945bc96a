"""Fixtures that several test files share are made once."""

import pytest

from analysis.__main__ import main
from tests.synthetic import Made, three_tier


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several test processes, one of them makes `reported` and runs all tests that use it."""
    for item in items:
        if "reported" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("reported"))


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A good run of three tiers, and its whole report. Tests must not change it."""
    made = three_tier(tmp_path_factory.mktemp("reported"))
    assert main(["report", str(made.path), "--quiet"]) == 0
    return made

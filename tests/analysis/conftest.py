"""What tests of several files look at is made once."""

import pytest

from analysis.__main__ import main
from tests.synthetic import Made, three_tier


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes run tests, one of them makes `reported`, and has all its users."""
    for item in items:
        if "reported" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("reported"))


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The three tiers as they ought to go, and their whole report. Nobody changes it."""
    made = three_tier(tmp_path_factory.mktemp("reported"))
    assert main(["report", str(made.path), "--quiet"]) == 0
    return made

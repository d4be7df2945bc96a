"""One embedded stack, with a real LiteLLM proxy, shared by the tests that need one."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.whole.stack import Shared, with_urls

_started: list[Shared] = []


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    if not _started:
        _started.append(Shared(tmp_path_factory.mktemp("stack")))
    return _started[0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Tests that use it run one after the other. An idle proxy takes a tenth of a core, so it ends with the last of them."""
    if "shared" not in getattr(nextitem, "fixturenames", ()):
        while _started:
            _started.pop().close()


@pytest.fixture
def stack(shared: Shared) -> Shared:
    """The stack with all tiers up and no deployment cooled."""
    shared.calm()
    return shared


@pytest.fixture
def topology(tmp_path: Path) -> Callable[..., Path]:
    """Makes a topology with urls, for a gateway on a port."""
    return partial(with_urls, tmp_path)

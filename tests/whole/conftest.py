"""One embedded stack, with a real LiteLLM proxy, shared by the tests that need one."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.whole.stack import Shared, with_urls


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    found = Shared(tmp_path_factory.mktemp("stack"))
    yield found
    found.close()


@pytest.fixture
def stack(shared: Shared) -> Shared:
    """The stack with all tiers up and nothing cooled down."""
    shared.calm()
    return shared


@pytest.fixture
def topology(tmp_path: Path) -> Callable[..., Path]:
    """A topology with urls, for a gateway on a port."""
    return partial(with_urls, tmp_path)

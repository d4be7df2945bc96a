"""One embedded stack, with a real LiteLLM proxy, shared by the tests that need one."""

import pytest

from tests.whole.stack import Shared


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    found = Shared(tmp_path_factory.mktemp("stack"))
    yield found
    found.close()


@pytest.fixture
def stack(shared):
    """The stack with all tiers up and nothing cooled down."""
    shared.calm()
    return shared

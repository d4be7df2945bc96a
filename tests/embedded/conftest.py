"""Quick engines for the fault tests, one per personality and test file."""

from collections.abc import Iterator

import pytest

from tests.embedded.engine import QUICK, Running, running


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("vllm", tmp_path_factory.mktemp("vllm"), *QUICK) as engine:
        yield engine


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("ollama", tmp_path_factory.mktemp("ollama"), *QUICK) as engine:
        yield engine


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("cloud", tmp_path_factory.mktemp("cloud"), *QUICK) as engine:
        yield engine

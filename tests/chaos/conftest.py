import pytest

from tests.chaos.stand import Stand


@pytest.fixture(scope="package")
def cluster(tmp_path_factory):
    """One cluster for the tests of chaos; each gets it whole by `stand`."""
    found = Stand(tmp_path_factory.mktemp("cluster"))
    yield found
    found.close()


@pytest.fixture
def stand(cluster, monkeypatch, tmp_path):
    """The cluster as it should be, and a journal of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    cluster.back()
    yield cluster
    cluster.back()

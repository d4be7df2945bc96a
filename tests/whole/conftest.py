"""One embedded stack, with a real LiteLLM proxy, shared by the tests that need one."""

from pathlib import Path

import pytest
import yaml

from tests.chaos.stand import ROOT
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


@pytest.fixture
def topology(tmp_path):
    """A topology with urls, for a gateway on a port."""

    def write(port: int, api_key: str | None = None) -> Path:
        data = yaml.safe_load((ROOT / "topologies/embedded.yaml").read_text())
        del data["embedded"]
        data |= {"cluster": "x", "kubeconfig": "/none"}
        for tier in (data["gateway"], *data["tiers"]):
            tier["handles"] = {k: v for k, v in tier["handles"].items() if v != "embedded"}
        data["gateway"] |= {"url": f"http://127.0.0.1:{port}"}
        del data["gateway"]["api_key"]
        if api_key:
            data["gateway"]["api_key"] = api_key
        (tmp_path / "topology.yaml").write_text(yaml.safe_dump(data))
        return tmp_path / "topology.yaml"

    return write

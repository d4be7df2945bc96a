"""A stack with a real gateway and a real llama.cpp as one of its tiers."""

import os
import sys
import urllib.request
from pathlib import Path

from chaos.kube.cluster import Cluster
from contract import topology
from contract.handles.process import Process
from contract.leash import Leashed
from tests.chaos.stand import ROOT
from tests.whole.stack import KEY, scaled


class Real:
    """Started as `make soak` does; its llama.cpp is the tier `llamacpp`."""

    def __init__(self, folder: Path, path: str) -> None:
        os.environ["LITELLM_MASTER_KEY"] = KEY
        self._process = Leashed(
            [sys.executable, "-m", "embedded", "stack", "--leash", "--folder", str(folder / "stack"),
             "--topology", str(ROOT / path)]
        )  # fmt: skip
        ready = self._process.first()
        assert ready is not None, "the stack did not start"
        self.path = Path(ready["topology"])
        self.topology = topology.read(self.path)
        self.cluster = Cluster(self.topology.kubeconfig)
        self.tier = self.topology.tier("llamacpp")

    def close(self) -> None:
        self._process.let_go()
        assert self._process.wait() == 0

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.tier.url}{path}", timeout=10) as answer:
            return answer.read().decode()

    def up(self) -> bool:
        try:
            return "ok" in self.page("/health")
        except OSError:
            return False

    def answering(self) -> bool:
        return '"is_processing":true' in self.page("/slots").replace(" ", "")

    def signal(self, number: int) -> None:
        process = self.tier.handles.get("process")
        assert isinstance(process, Process)
        os.kill(int(Path(process.pidfile).read_text()), number)

    def scale(self, name: str, replicas: int) -> None:
        scaled(self.cluster, "ml", name, replicas)

"""A real llama.cpp for tests, and a topology for the harness's own client."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.embedded.engine import HOUSE, Running, until
from tests.ports import held_port

PYTHON = HOUSE / ".venv-engines" / "bin" / "python"
PAGE_S = 3.0
MODELS = HOUSE / ".stack" / "models"


class Llama(Running):
    """A running llama.cpp, with the helpers of the simulated engines; it has no ledger."""

    def healthy(self) -> bool:
        assert self.process.poll() is None, f"it ended with {self.process.returncode}"
        try:
            return self.request("/health").status == 200
        except OSError:
            return False

    def metric(self, name: str) -> float:
        connection = self.send("/metrics")
        connection.sock.settimeout(PAGE_S)
        lines = connection.getresponse().read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"llamacpp:{name} "))

    def answering(self) -> bool:
        """Whether a slot has begun to generate."""
        slots = self.request_json("/slots")[1]
        return any(slot["is_processing"] and slot["next_token"][0]["n_decoded"] > 5 for slot in slots)

    def topology(self, folder: Path) -> Path:
        path = folder / "topology.yaml"
        tier = {
            "name": "llamacpp",
            "match": {"group": "g"},
            "model": "m",
            "url": f"http://127.0.0.1:{self.port}",
        }
        path.write_text(
            yaml.safe_dump({"gateway": {"url": "http://127.0.0.1:1", "model": "g"}, "tiers": [tier]})
        )
        return path


@contextmanager
def llama(*parameters: str, healthy: bool = True) -> Iterator[Llama]:
    port = held_port()
    command = [
        str(PYTHON),
        "-m",
        "embedded.llamacpp",
        "--port",
        str(port),
        "--models",
        str(MODELS),
        "--model",
        "m",
    ]
    process = subprocess.Popen([*command, *parameters], cwd=HOUSE)
    found = Llama(process, port, HOUSE)
    try:
        if healthy:
            until(found.healthy)
        yield found
    finally:
        process.kill()
        process.wait()

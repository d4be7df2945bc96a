"""Tiers without a cluster: one is a file, one is taken away and restored by commands."""

from pathlib import Path
from typing import Any

from chaos import faults
from chaos.fault import Fault
from contract import topology
from contract.topology import Topology
from tests.ports import held_port

UP, DOWN = "up", "down"
FAULTS = str(Path(__file__).parent / "faults")  # the tests' own, beside the catalogue's

LONG = """
hypothesis: it comes back whatever happens to the controller
baseline: 0s
settle: 0s
max: 5m
steps: [{name: gaming, at: 0s, for: 120s, fault: command, target: vllm}]
"""


def put(path: Path, text: str) -> None:
    """Atomically: no reader gets an empty file."""
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.write_text(text)
    fresh.rename(path)


class _Tier:
    """Its gateway is a port without a listener, and the tier has no url."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._port = folder, held_port()

    def handles(self) -> dict[str, Any]:
        raise NotImplementedError  # each tier has handles of its own

    def topology(self) -> Topology:
        tier = {
            "name": "vllm",
            "match": {"group": "tiny"},
            "model": "tiny",
            "handles": {"unprotected": True, **self.handles()},
        }
        gateway = {"url": f"http://127.0.0.1:{self._port}", "model": "tiny"}
        return Topology.model_validate({"gateway": gateway, "tiers": [tier]})

    def write_topology(self) -> Path:
        path = self.folder / "topology.yaml"
        path.write_text(topology.dump(self.topology()))
        return path


class File(_Tier):
    """The target of the fault `noop`."""

    fault = "noop"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "a-tier"
        self.path.write_text(UP)

    def handles(self) -> dict[str, Any]:
        return {"process": {"pidfile": str(self.path)}}

    def driver(self) -> type[Fault]:
        """The driver that the catalogue loaded from `noop`'s file."""
        return faults.driver(self.fault)

    def is_(self) -> str:
        return self.path.read_text()


class Commands(_Tier):
    """Up unless `gone` exists. `restore_by`: the shell lines that restore it."""

    fault = "command"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gone, self._restore = folder / "gone", folder / "restore.sh"
        self.restore_by(f"rm -f {self.gone}")

    def restore_by(self, lines: str) -> None:
        self._restore.write_text(lines + "\n")

    def handles(self) -> dict[str, Any]:
        return {
            "command": {
                "inject": ["touch", str(self.gone)],
                "check": ["test", "!", "-e", str(self.gone)],
                "restore": ["sh", str(self._restore)],
            }
        }

"""A tier that commands of the tests take away and restore, and the log of these commands."""

from pathlib import Path
from typing import Any

from chaos import faults
from chaos.fault import Fault
from tests.chaos.targets import given, on


class Target:
    """The tier is a file, which exists or not. Each command writes a line to the log."""

    def __init__(self, folder: Path) -> None:
        self.up, self.log = folder / "up", folder / "log"
        self.up.touch()
        self.log.touch()
        self.given = {
            "inject": self._sh("inject", f"rm -f {self.up}"),
            "check": ["test", "-e", str(self.up)],
            "restore": self._sh("restore", f"touch {self.up}"),
        }

    def _sh(self, word: str, line: str) -> list[str]:
        return ["sh", "-c", f"echo {word} >> {self.log}; {line}"]

    def done(self) -> list[str]:
        return self.log.read_text().split()

    def make(self, options: dict[str, Any] | None = None, **other: Any) -> Fault:
        handle = given("command", self.given | other)
        assert handle.name == "vllm"
        return faults.make("command", None, on(handle), options or {})

"""Changes the content of a file from `up` to `down`. A fault without a cluster, a process or waiting; for tests."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.errors import CannotInject, Foreign
from chaos.fault import Deadman, Fault, NoOptions
from chaos.kube.cluster import Cluster
from chaos.target import Target
from tests.chaos.plain import DOWN, UP, put


class Noop(Fault):
    kinds = ("process",)
    deadman = Deadman.GUARDIAN

    def __init__(self, cluster: Cluster | None, target: Target, options: NoOptions) -> None:
        self._file = Path(target.handle.name)

    def snapshot(self) -> dict[str, Any]:
        found = self._file.read_text()
        if found != UP:
            raise CannotInject(f"{self._file} is {found}: there is nothing to take away")
        return {"original": {"is": UP}, "set": {"is": DOWN}}

    def inject(self, state: dict[str, Any]) -> None:
        put(self._file, DOWN)

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return {"is": DOWN} if self._file.read_text() == DOWN else None

    def restore(self, state: dict[str, Any]) -> None:
        found = self._file.read_text()
        if found not in (UP, DOWN):
            raise Foreign(self._by_another(found))
        if found == DOWN:
            put(self._file, UP)

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return {"is": UP} if self._file.read_text() == UP else None

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        while not over():
            found = self._file.read_text()
            if found not in (UP, DOWN):
                return self._by_another(found)
            time.sleep(0.01)
        return None

    def _by_another(self, found: str) -> str:
        return f"{self._file} was set to {found} by someone else"


FAULT = Noop

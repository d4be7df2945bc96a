"""Common parts of the process faults: which process the pidfile names, and whether it is still the same one."""

import os
from typing import Any, ClassVar

from chaos.errors import CannotInject
from chaos.fault import Fault, NoOptions
from chaos.host import pidfile
from chaos.host.pidfile import SLACK_S, Seen
from chaos.kube.cluster import Cluster
from chaos.target import Target


class ProcessFault(Fault):
    """A fault of the process that a pidfile names."""

    kinds = ("process",)
    set_to: ClassVar[str]

    def __init__(self, cluster: Cluster | None, target: Target, options: NoOptions) -> None:
        self.pidfile: str = target.handle.given["pidfile"]
        self._refused: str | None = None  # why the pidfile was not read
        self.start: list[str] | None = target.handle.given.get("start")

    def snapshot(self) -> dict[str, Any]:
        try:
            named = pidfile.named(self.pidfile)
        except OSError as e:
            raise CannotInject(str(e)) from None
        if named is None:
            raise CannotInject(f"{self.pidfile} does not hold a pid: there is nothing to take away")
        found = pidfile.seen(named.pid)
        if found is None or found.gone:
            raise CannotInject(f"{self.pidfile} names process {named.pid}, which is not running")
        if found.began_at > named.written / 1e9 + SLACK_S:
            raise CannotInject(
                f"{self.pidfile} is older than process {named.pid}: it named an earlier process, which is gone"
            )
        if found.state in "Tt":
            raise CannotInject(f"process {named.pid} is stopped already")
        if found.pid == os.getpid():
            raise CannotInject(f"{self.pidfile} names the controller itself")
        try:
            os.kill(found.pid, 0)
        except PermissionError:
            raise CannotInject(
                f"process {found.pid} belongs to another user: sending it a signal is not allowed"
            ) from None
        return {
            "original": {"pid": found.pid},
            "set": self.set_to,
            "pid": found.pid,
            "start": found.start,
            "written": named.written,
        }

    @property
    def missing(self) -> str:
        return self._refused or super().missing

    def original(self, state: dict[str, Any]) -> Seen | None:
        """The process that the snapshot found, while it lives."""
        return pidfile.living(state["pid"], state["start"])

    def current(self, state: dict[str, Any]) -> Seen | None:
        """The process that the pidfile names now, while it lives. None also where another user could have written the file: what
        others write must not pass for a process that is back."""
        try:
            named = pidfile.named(self.pidfile)
        except OSError as e:
            self._refused = str(e)
            return None
        self._refused = None
        found = pidfile.seen(named.pid) if named else None
        if named is None or found is None or found.gone:
            return None
        # An unchanged file names the original; another process with that pid is unrelated.
        if named.written == state["written"] and not found.same_as(state):
            return None
        return found

    def signal(self, state: dict[str, Any], number: int) -> None:
        """Send it to the process of the snapshot. Raises CannotInject where that has ended."""
        found = self.original(state)
        if found is None:
            raise CannotInject(f"process {state['pid']} of {self.pidfile} ended after the snapshot")
        pidfile.send_signal(found, number)

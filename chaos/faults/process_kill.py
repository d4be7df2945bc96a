"""Kills a process and its group (SIGKILL), and starts it again with the handle's `start`.

Without `start` something else must start it (a Pod's kubelet, a supervisor), and the restore waits for that. Effective when
the process is gone; restored when the pidfile names a running one.
"""

import signal
import subprocess
import time
from typing import Any

from chaos.fault import Deadman, NoOptions
from chaos.host.launched import Launched, folder
from chaos.host.launcher import BARRED
from chaos.host.processes import ProcessFault
from chaos.kube.cluster import Cluster
from chaos.target import Target

START_AGAIN_S = 10.0  # a server may write its pidfile late and must not be started twice


class ProcessKill(ProcessFault):
    set_to = "killed"

    def __init__(self, cluster: Cluster | None, target: Target, options: NoOptions) -> None:
        super().__init__(cluster, target, options)
        self._child: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def deadman(self) -> Deadman:
        """none needed where something else starts it; with `start`, only the guardian"""
        return Deadman.GUARDIAN if self.start else Deadman.NOT_NEEDED

    def snapshot(self) -> dict[str, Any]:
        state = super().snapshot()
        return state | {"starting": str(folder() / f"start-{state['pid']}-{state['start']}")}

    def inject(self, state: dict[str, Any]) -> None:
        self.signal(state, signal.SIGKILL)

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return {"process": "gone", "pid": state["pid"]} if self.original(state) is None else None

    def restore(self, state: dict[str, Any]) -> None:
        if self.start and self.current(state) is None:
            self._start(self.start, Launched(state["starting"]))

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self.current(state)
        if found is None:
            self.restore(state)  # a started process may have ended at once, and nothing else tries again
            return None
        return {"process": "runs", "pid": found.pid}

    def disarm(self, state: dict[str, Any]) -> None:
        Launched(state["starting"]).forget()

    def _start(self, argv: list[str], launched: Launched) -> None:
        if self._child is not None and self._child.poll() != BARRED:
            code = self._child.returncode
            if code is None or time.monotonic() - self._started_at < START_AGAIN_S:
                if code:
                    raise OSError(f"start of {self.pidfile}: exit {code}")
                return
        # Another restorer may have started it, or may be about to: the launcher runs it only once.
        if not launched.over():
            return
        self._started_at = time.monotonic()
        self._child = subprocess.Popen(
            launched.command(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


FAULT = ProcessKill

"""Stops a process and its group (SIGSTOP), and continues them: connections stay open, nothing answers.

Effective when /proc shows it stopped; restored when it runs. A process that was killed meanwhile stays gone.
"""

import signal
import time
from collections.abc import Callable
from typing import Any

from chaos.fault import Deadman
from chaos.host import pidfile
from chaos.host.processes import ProcessFault

LOOK_S = 0.2


class ProcessFreeze(ProcessFault):
    deadman = Deadman.GUARDIAN
    set_to = "stopped"

    def inject(self, state: dict[str, Any]) -> None:
        self.signal(state, signal.SIGSTOP)

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self.original(state)
        return {"process": "stopped", "pid": found.pid} if found is not None and found.state == "T" else None

    def restore(self, state: dict[str, Any]) -> None:
        found = self.original(state)
        if found is not None:
            pidfile.send_signal(found, signal.SIGCONT)  # no effect on a running process

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self.original(state)
        if found is None:
            return {"process": "gone", "pid": state["pid"]}  # its answers show whether the tier is back
        return None if found.state == "T" else {"process": "runs", "pid": found.pid}

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        seen = False
        while not over():
            if self.effective(state):
                seen = True
            elif seen and not over():
                ended = self.original(state) is None
                return f"process {state['pid']} was {'ended' if ended else 'continued'} by someone else"
            time.sleep(LOOK_S)
        return None


FAULT = ProcessFreeze

"""Common parts of the unit faults: reading a unit, starting it again, and the dead-man.

The dead-man is a transient timer on the unit's host. Its name is the lock between machines: systemd creates a name only
once. A reboot of the host removes it; systemd then starts a unit that is enabled.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any, ClassVar

from chaos.errors import CannotInject
from chaos.fault import Deadman, Fault, NoOptions
from chaos.host import unit_needs
from chaos.host.systemd import Manager, shown, timer_of
from chaos.kube.cluster import Cluster
from chaos.target import Target

START_AGAIN_S = 5.0  # a unit that fails right after its start is not restarted in a loop
LOOK_S = 1.0
UP = ("active", "reloading")
COMING = (*UP, "activating", "refreshing")
DOWN = ("inactive", "failed")


class UnitFault(Fault):
    """A fault of one unit; `back`: the systemctl verb that the timer runs."""

    kinds = ("unit",)
    deadman = Deadman.TIMER
    back: ClassVar[str] = "start"
    set_to: ClassVar[str]

    def __init__(self, cluster: Cluster | None, target: Target, options: NoOptions) -> None:
        self._handle = target.handle
        given = target.handle.given
        self.name: str = given["name"]
        self.manager = Manager(bool(given.get("user")), given.get("ssh"))
        self._started_at: float | None = None
        self._changed = False

    def snapshot(self) -> dict[str, Any]:
        found = self.look()
        if found.get("LoadState") == "not-found":
            raise CannotInject(f"there is no {self}")
        if found["ActiveState"] != "active":
            raise CannotInject(f"{self} is {found['ActiveState']}: there is nothing to take away")
        return {
            "original": {"active": "active", "sub": found["SubState"], "restart": found.get("Restart")},
            "set": {"active": self.set_to},
            "invocation": found["InvocationID"],
            "timer": secrets.token_hex(8),  # identifies our own timer
        }

    def arm(self, state: dict[str, Any], seconds: float) -> None:
        if self._armed(state):  # an earlier call timed out but had arrived
            return
        who = f"{socket.gethostname()}:{os.getpid()}"
        description = f"brownout: {self.back} {self.name} for {who} ({state['timer']})"
        try:
            self.manager.run(self.manager.arm(self.name, self.back, seconds, description))
        except OSError:
            if self._armed(state):  # ours, only the answer was lost; raises where another run was faster
                return
            raise

    def disarm(self, state: dict[str, Any]) -> None:
        timer = self.look(timer_of(self.name))
        if timer.get("LoadState") == "loaded" and state["timer"] in timer.get("Description", ""):
            self.systemctl("stop", unit=timer_of(self.name))

    def needs(self) -> list[str]:
        return unit_needs.missing(self._handle)

    def others(self) -> list[str]:
        found = self.look()
        return [
            f"{trigger} starts {self.name} again when it is next triggered"
            for trigger in found.get("TriggeredBy", "").split()
            if self.set_to == "inactive" and trigger != timer_of(self.name)
        ]

    def look(self, unit: str | None = None) -> dict[str, str]:
        """The unit's properties from its manager. Raises OSError."""
        return shown(self.manager.run(self.manager.show(unit or self.name)))

    def systemctl(self, verb: str, *options: str, unit: str | None = None) -> None:
        """Run systemctl on the unit's host. Raises OSError."""
        self.manager.run(self.manager.act(verb, unit or self.name, *options))

    def must_be_untouched(self, state: dict[str, Any]) -> None:
        """Check before our first change only; later differences may be our own."""
        if self._changed:
            return
        found = self.look()
        if found["ActiveState"] != "active" or found["InvocationID"] != state["invocation"]:
            raise CannotInject(f"{self} was stopped or started by someone else after the snapshot")
        self._changed = True

    def start(self, found: dict[str, str]) -> None:
        """Start it, unless it runs or is starting."""
        settled = not found.get("Job")
        if found["ActiveState"] in COMING and settled:
            return
        if self._started_at is not None and time.monotonic() - self._started_at < START_AGAIN_S:
            return
        if found["ActiveState"] == "failed":
            # Otherwise a unit that was killed repeatedly reaches its start limit.
            self.systemctl("reset-failed")
        # Do not wait: an engine may load for minutes. A start queued behind a stop replaces it.
        self.systemctl("start", "--no-block")
        self._started_at = time.monotonic()

    def up(self) -> dict[str, Any] | None:
        """Its state once it runs; None: not yet. Starts it again after a failed start, since nothing else would."""
        found = self.look()
        if found["ActiveState"] == "active" and not found.get("Job"):
            return {"unit": "active", "sub": found["SubState"]}
        self.start(found)
        return None

    def watch(
        self, over: Callable[[], bool], set_so: Callable[[dict[str, str]], bool]
    ) -> dict[str, str] | None:
        """Waits until it is as we set it, then returns its properties when it no longer is. None: `over` came first."""
        seen = False
        while not over():
            try:
                found = self.look()
                if set_so(found):
                    seen = True
                elif seen and not over():
                    return found
            except OSError:
                pass  # unknown for now
            time.sleep(LOOK_S)
        return None

    def __str__(self) -> str:
        whose = "the user's unit" if self.manager.user else "unit"
        return f"{whose} {self.name}" + (f" on {self.manager.ssh}" if self.manager.ssh else "")

    def _armed(self, state: dict[str, Any]) -> bool:
        """Whether our own timer is armed. Raises CannotInject where the timer belongs to another run."""
        timer = self.look(timer_of(self.name))
        if timer.get("LoadState") != "loaded":
            return False
        description = timer.get("Description", "")
        if state["timer"] in description:
            return True
        raise CannotInject(
            f"{self}: the timer {timer_of(self.name)} is armed already ({description}); stop it if it is not needed"
        )

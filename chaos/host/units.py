"""What the faults of systemd units have in common: what is looked at, the way back, and the dead-man.

The dead-man is a transient timer on the unit's host. Its name is the lock between machines: one for each unit, made
by systemd once. It is lost with the host's boot; a unit that is enabled is started then by systemd itself.
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

START_AGAIN_S = 5.0  # a unit that fails as soon as it is started is not started in a loop
LOOK_S = 1.0
UP = ("active", "reloading")
COMING = (*UP, "activating", "refreshing")
DOWN = ("inactive", "failed")


class UnitFault(Fault):
    """A fault of one unit; `back` is what the timer tells systemctl."""

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
            "timer": secrets.token_hex(8),  # by it we know our own
        }

    def arm(self, state: dict[str, Any], seconds: float) -> None:
        if self._armed(state):  # a call that we gave up had arrived
            return
        who = f"{socket.gethostname()}:{os.getpid()}"
        description = f"brownout: {self.back} {self.name} for {who} ({state['timer']})"
        try:
            self.manager.run(self.manager.arm(self.name, self.back, seconds, description))
        except OSError:
            if self._armed(state):  # somebody else's: they were faster
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
        """The unit as its manager sees it. Raises OSError."""
        return shown(self.manager.run(self.manager.show(unit or self.name)))

    def systemctl(self, verb: str, *options: str, unit: str | None = None) -> None:
        """Have the unit's manager do it. Raises OSError."""
        self.manager.run(self.manager.act(verb, unit or self.name, *options))

    def must_be_untouched(self, state: dict[str, Any]) -> None:
        """Before the first call that changes something; what the next ones find may be our own doing."""
        if self._changed:
            return
        found = self.look()
        if found["ActiveState"] != "active" or found["InvocationID"] != state["invocation"]:
            raise CannotInject(f"{self} was stopped or started by someone else after the snapshot")
        self._changed = True

    def start(self, found: dict[str, str]) -> None:
        """Have it started, unless it runs or is about to."""
        settled = not found.get("Job")
        if found["ActiveState"] in COMING and settled:
            return
        if self._started_at is not None and time.monotonic() - self._started_at < START_AGAIN_S:
            return
        if found["ActiveState"] == "failed":
            # Without it a unit that was killed often enough hits its start limit.
            self.systemctl("reset-failed")
        # Not waited for: an engine may load for minutes. A start queued behind a stop takes its place.
        self.systemctl("start", "--no-block")
        self._started_at = time.monotonic()

    def up(self) -> dict[str, Any] | None:
        """Whether it runs. Where a start has failed it is tried again: nobody else does."""
        found = self.look()
        if found["ActiveState"] == "active" and not found.get("Job"):
            return {"unit": "active", "sub": found["SubState"]}
        self.start(found)
        return None

    def watch(
        self, over: Callable[[], bool], set_so: Callable[[dict[str, str]], bool]
    ) -> dict[str, str] | None:
        """Once it is as we set it: how it is when it no longer is. None: `over` came first."""
        seen = False
        while not over():
            try:
                found = self.look()
                if set_so(found):
                    seen = True
                elif seen and not over():
                    return found
            except OSError:
                pass  # nobody can tell, for now
            time.sleep(LOOK_S)
        return None

    def __str__(self) -> str:
        whose = "the user's unit" if self.manager.user else "unit"
        return f"{whose} {self.name}" + (f" on {self.manager.ssh}" if self.manager.ssh else "")

    def _armed(self, state: dict[str, Any]) -> bool:
        """Whether our own timer is armed. Raises CannotInject where it is another's."""
        timer = self.look(timer_of(self.name))
        if timer.get("LoadState") != "loaded":
            return False
        told = timer.get("Description", "")
        if state["timer"] in told:
            return True
        raise CannotInject(
            f"{self}: the timer {timer_of(self.name)} is armed already ({told}); stop it if it is not needed"
        )

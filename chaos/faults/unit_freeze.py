"""Freezes all processes of a systemd unit (`systemctl freeze`), and thaws them: connections stay open, nothing answers.

Needs cgroup v2 and D-Bus on the unit's host. A unit that died while it was frozen (a watchdog, out of memory) is
started again; a unit that someone stopped meanwhile is left alone.
"""

from collections.abc import Callable
from typing import Any

from chaos.errors import CannotInject, Foreign
from chaos.host import spawn
from chaos.host.systemd import TIMEOUT_S
from chaos.host.units import UnitFault

_UNIFIED = "/sys/fs/cgroup/cgroup.controllers"  # exists in cgroup v2 only


class UnitFreeze(UnitFault):
    back = "thaw"
    set_to = "frozen"

    def snapshot(self) -> dict[str, Any]:
        state, found = super().snapshot(), self.look()
        if found.get("CanFreeze") != "yes":
            reported = found.get("CanFreeze", "nothing")
            raise CannotInject(f"{self} cannot be frozen: its systemd reports CanFreeze={reported}")
        if found.get("FreezerState") != "running":
            raise CannotInject(f"{self} is {found.get('FreezerState')} already")
        # systemd 252 reports CanFreeze=yes also where its freeze then fails.
        there = spawn.run(self.manager.line(["cat", _UNIFIED]), TIMEOUT_S)
        if there.code == 1:
            raise CannotInject(f"{self} cannot be frozen: its host has no unified cgroups (version 2)")
        if there.code:
            raise OSError(str(there))
        return state

    def inject(self, state: dict[str, Any]) -> None:
        self.must_be_untouched(state)
        self.systemctl("freeze")

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self.look()
        return {"unit": "frozen"} if _frozen(found) else None

    def restore(self, state: dict[str, Any]) -> None:
        found = self.look()
        if found["ActiveState"] == "active":
            if found.get("FreezerState") != "running":
                self.systemctl("thaw")
        elif found["ActiveState"] == "inactive":
            raise Foreign(f"{self} was stopped by someone else and is left alone")
        else:
            self.start(found)

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self.look()
        if found["ActiveState"] == "failed":
            self.start(found)
        if found["ActiveState"] != "active" or found.get("FreezerState") != "running":
            return None
        return {"unit": "active", "freezer": "running"}

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        found = self.watch(over, _frozen)
        if found is None or found["ActiveState"] == "failed":
            return None  # it crashed: the restore starts it
        return f"{self} was thawed, stopped or started by someone else"


def _frozen(found: dict[str, str]) -> bool:
    # A unit that was killed while frozen keeps this FreezerState.
    return found["ActiveState"] == "active" and found.get("FreezerState") == "frozen"


FAULT = UnitFreeze

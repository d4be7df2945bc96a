"""Stops a systemd unit (`systemctl stop`), and starts it again.

Effective when it is inactive; restored when it is active. A unit that someone else started meanwhile counts as restored.
"""

from collections.abc import Callable
from typing import Any

from chaos.host.units import DOWN, UnitFault


class UnitStop(UnitFault):
    set_to = "inactive"

    def inject(self, state: dict[str, Any]) -> None:
        self.must_be_untouched(state)
        # Do not wait: an engine may drain for 90 s. `effective` observes the result.
        self.systemctl("stop", "--no-block")

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self.look()
        return {"unit": found["ActiveState"]} if found["ActiveState"] in DOWN else None

    def restore(self, state: dict[str, Any]) -> None:
        self.start(self.look())

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return self.up()

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        found = self.watch(over, lambda f: f["ActiveState"] in DOWN)
        return f"{self} was started by someone else: it is {found['ActiveState']}" if found else None


FAULT = UnitStop

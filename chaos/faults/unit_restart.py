"""Restarts a systemd unit (`systemctl restart`): the unit stops, with or without completing its running requests, and starts.

It comes back by itself, possibly long before the step ends. The restore verifies this, and starts it where needed.
Effective when this run of the unit has ended.
"""

from typing import Any

from chaos.host.units import DOWN, UnitFault


class UnitRestart(UnitFault):
    set_to = "restarted"
    _ordered = False

    def inject(self, state: dict[str, Any]) -> None:
        self.must_be_untouched(state)
        if self._ordered:  # only the answer may have been lost: a second order would be a second restart
            found = self.look()
            if (
                found.get("Job")
                or found["ActiveState"] != "active"
                or found["InvocationID"] != state["invocation"]
            ):
                return
        self._ordered = True
        # Do not wait: a gateway may drain for 90 s.
        self.systemctl("restart", "--no-block")

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self.look()
        if found["ActiveState"] not in DOWN and found["InvocationID"] == state["invocation"]:
            return None
        return {"unit": found["ActiveState"], "sub": found["SubState"]}

    def restore(self, state: dict[str, Any]) -> None:
        self.start(self.look())

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return self.up()


FAULT = UnitRestart

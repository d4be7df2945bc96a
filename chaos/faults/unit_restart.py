"""Restarts a systemd unit (`systemctl restart`): it is told to stop, ends what it has under way or not, and is started anew.

It comes back by itself, maybe long before the step is over; the restore sees to it that it is there, and starts it where it is
not. Effective when that run of the unit has ended.
"""

from typing import Any

from chaos.host.units import DOWN, UnitFault


class UnitRestart(UnitFault):
    set_to = "restarted"
    _ordered = False

    def inject(self, state: dict[str, Any]) -> None:
        self.must_be_untouched(state)
        if self._ordered:  # the answer was lost, and maybe not the order: twice would be two restarts
            found = self.look()
            if (
                found.get("Job")
                or found["ActiveState"] != "active"
                or found["InvocationID"] != state["invocation"]
            ):
                return
        self._ordered = True
        # Not waited for: a gateway may drain for a minute and a half.
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

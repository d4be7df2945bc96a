"""Kills all processes of a systemd unit (`systemctl kill --signal=SIGKILL`), and sees to it that the unit is back.

With Restart=always or on-failure systemd brings it back by itself, after its RestartSec, and maybe long before the
step is over; with Restart=no it stays failed until the restore. Effective when it is no longer the same run of the unit.
"""

from typing import Any

from chaos.host.units import UP, UnitFault


class UnitKill(UnitFault):
    set_to = "killed"

    def inject(self, state: dict[str, Any]) -> None:
        self.must_be_untouched(state)
        # Every process of it is the default; the option's name changed with systemd 252.
        self.systemctl("kill", "--signal=SIGKILL")

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self.look()
        if found["ActiveState"] in UP and found["InvocationID"] == state["invocation"]:
            return None
        return {"unit": found["ActiveState"], "sub": found["SubState"], "restart": found.get("Restart")}

    def restore(self, state: dict[str, Any]) -> None:
        self.start(self.look())

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return self.up()


FAULT = UnitKill

"""Kills all processes of a systemd unit (`systemctl kill --signal=SIGKILL`), and starts the unit again where needed.

With Restart=always or on-failure systemd restarts it after its RestartSec, possibly long before the step ends. With
Restart=no it stays failed until the restore. Effective when this run of the unit has ended.
"""

from typing import Any

from chaos.host.units import UP, UnitFault


class UnitKill(UnitFault):
    set_to = "killed"

    def inject(self, state: dict[str, Any]) -> None:
        self.must_be_untouched(state)
        # All its processes is the default; the option for it was renamed in systemd 252.
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

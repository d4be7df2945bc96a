"""systemd's command lines and their output: of the system's manager or of the user's, here or over ssh.

Building and parsing are pure; only `Manager.run` runs a command.
"""

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaos.host import spawn

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Job",
    "MainPID",
    "InvocationID",
    "Result",
    "Restart",
    "NRestarts",
    "TriggeredBy",
    "CanFreeze",
    "FreezerState",
    "Description",
)
# Longer than systemctl's own limit of 25 s for a manager that hangs: its message is better than ours.
TIMEOUT_S = 30.0
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "--")
# Without a PAM session of sshd, XDG_RUNTIME_DIR, the place of the user's manager, is not set.
_AS_USER = 'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}" exec "$@"'


@dataclass(frozen=True, slots=True)
class Manager:
    """The systemd that a unit belongs to."""

    user: bool = False
    ssh: str | None = None

    def show(self, unit: str, properties: Sequence[str] = PROPERTIES) -> list[str]:
        return self.line(["systemctl", *self._scope, "show", f"--property={','.join(properties)}", unit])

    def act(self, verb: str, unit: str, *options: str) -> list[str]:
        return self.line(["systemctl", *self._scope, verb, *options, unit])

    def arm(self, unit: str, verb: str, seconds: float, description: str) -> list[str]:
        """A transient timer that runs `systemctl verb unit` after `seconds`, without any process of ours."""
        return self.line(
            [
                "systemd-run",
                *self._scope,
                "--quiet",
                "--collect",  # a restore that failed must not keep the name
                f"--unit={timer_of(unit)}",
                f"--description={description}",
                f"--on-active={max(1, math.ceil(seconds))}s",
                "--timer-property=AccuracySec=1s",
                "systemctl",
                *self._scope,
                verb,
                unit,
            ]
        )

    def line(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` on the unit's host."""
        if self.ssh is None:
            return list(argv)
        # ssh passes one line to the remote shell.
        there = ["sh", "-c", _AS_USER, "sh", *argv] if self.user else argv
        return [*_SSH, self.ssh, shlex.join(there)]

    def run(self, argv: Sequence[str]) -> str:
        """Run one of these lines. Raises OSError."""
        return spawn.must(argv, TIMEOUT_S, self.environment(os.environ))

    def environment(self, ours: Mapping[str, str]) -> dict[str, str]:
        """`systemctl --user` finds its manager by XDG_RUNTIME_DIR, which a service or a cron job does not have."""
        return {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}", **ours} if self.user else dict(ours)

    @property
    def _scope(self) -> list[str]:
        return ["--user"] if self.user else []


def timer_of(unit: str) -> str:
    """The dead-man's name, one for each unit on any machine. `ollama.service` → `brownout-restore-ollama.timer`."""
    stem = unit.removesuffix(".service")
    plain = "".join(c if c.isalnum() or c in ":_.-" else f"\\x{ord(c):02x}" for c in stem)
    return f"brownout-restore-{plain}.timer"


def shown(text: str) -> dict[str, str]:
    """The output of `systemctl show` by property, without properties that this systemd does not know."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

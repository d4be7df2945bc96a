"""Runs the operator's own commands: `inject` takes the tier away, `restore` brings it back, `check` reports its state.

Each command is a list of arguments, run without a shell unless the list names one. `restore` must be safe to run twice and
while nothing is broken. Recipes: docs/recipes.md.
"""

import math
import secrets
import time
from typing import Any

from chaos.errors import CannotInject
from chaos.fault import Deadman, Fault
from chaos.host import spawn
from chaos.host.launched import Launched, folder
from chaos.kube.cluster import Cluster
from chaos.target import Target
from contract.duration import Duration
from contract.strict import Strict

CHECK_S = 10.0
RESTORE_AGAIN_S = 5.0  # not every 0.1 s while a tier loads its model
FAILED_AGAIN_S = 1.0
# A shell that cannot run the command, ssh that cannot connect: the state of the target is unknown.
UNKNOWN = (126, 127, 255)


class Options(Strict):
    timeout: Duration = 30.0  # for inject, for restore, and for arming the dead-man


class Command(Fault):
    kinds = ("command",)
    options = Options
    slow = True

    def __init__(self, cluster: Cluster | None, target: Target, options: Options) -> None:
        given = target.handle.given
        self._inject, self._check, self._restore = given["inject"], given["check"], given["restore"]
        self._deadman: list[str] | None = given.get("deadman")
        self._timeout_s = options.timeout
        self._restored_at: float | None = None
        self._failed_at: float | None = None
        self._failure = ""

    @property
    def deadman(self) -> Deadman:
        """the handle's `deadman` command, run before the inject; without one, only the guardian"""
        return Deadman.OWN if self._deadman else Deadman.GUARDIAN

    def snapshot(self) -> dict[str, Any]:
        checked = spawn.run(self._check, CHECK_S)
        if checked.code:
            raise CannotInject(f"the check fails, so there is nothing to inject: {checked}")
        return {
            "original": {"check": "succeeds"},
            "set": {"check": "fails"},
            "group_file": str(folder() / f"inject-{secrets.token_hex(8)}"),
        }

    def arm(self, state: dict[str, Any], seconds: float) -> None:
        if self._deadman is None:
            return
        given = str(max(1, math.ceil(seconds)))
        ended = spawn.run([part.replace("{seconds}", given) for part in self._deadman], self._timeout_s)
        if ended.code:
            raise CannotInject(f"the dead-man is not armed: {ended}")

    def inject(self, state: dict[str, Any]) -> None:
        try:
            ended = spawn.run(Launched(state["group_file"]).command(self._inject), self._timeout_s)
        except TimeoutError:
            raise CannotInject(
                f"inject: {spawn.command_text(self._inject)}: not finished within {self._timeout_s:g} s"
            ) from None
        if ended.code:
            # Not run again: the effect of a second run is unknown.
            raise CannotInject(
                f"inject: {spawn.Ended(tuple(self._inject), ended.code, ended.out, ended.err)}"
            )

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        code = self._checked()
        return {"check": code} if code else None

    def restore(self, state: dict[str, Any]) -> None:
        launched = Launched(state["group_file"])
        launched.bar()
        was_running = launched.end()
        done = self._restored_at is not None and not was_running
        if done and (_lately(self._restored_at, RESTORE_AGAIN_S) or self._checked() == 0):
            return
        if _lately(self._failed_at, FAILED_AGAIN_S):
            raise OSError(self._failure)
        try:
            spawn.must(self._restore, self._timeout_s)
        except OSError as e:
            self._failed_at, self._failure = time.monotonic(), f"restore: {e}"
            raise OSError(self._failure) from None
        self._restored_at = time.monotonic()

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return {"check": 0} if self._checked() == 0 else None

    def disarm(self, state: dict[str, Any]) -> None:
        Launched(state["group_file"]).forget()

    def _checked(self) -> int:
        """The check's exit status. Raises OSError where it does not show the target's state."""
        ended = spawn.run(self._check, CHECK_S)
        if ended.code < 0 or ended.code in UNKNOWN:
            raise OSError(f"check: {ended}")
        return ended.code


def _lately(at: float | None, within_s: float) -> bool:
    return at is not None and time.monotonic() - at < within_s


FAULT = Command

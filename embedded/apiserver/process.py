"""The process of a Pod: started as the leader of its own group, ended with its whole group.

The law: when the leader ends, for any reason, the group is killed, as a container ends with its first process.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
# Loaded before any fork: nothing may be imported between fork and exec.
_LIBC = ctypes.CDLL(None, use_errno=True)

# The maximum wait for a killed group to leave the process table.
GONE_WITHIN_S = 2.0


def _die_with(parent: int) -> Callable[[], None]:
    """Runs in the child before exec: when the stack is killed with SIGKILL, the kernel kills its Pods.

    The kernel ties this to the forking thread, which is the event loop's: a loop must outlive its Pods.
    """

    def prepare() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return prepare


def living_members(group: int) -> list[int]:
    """The processes of a group that are not zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member_of = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # it ended meanwhile
        if int(member_of) == group and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


class Process:
    """A running command. `exited` completes with the exit code when its leader has ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.frozen = False
        self.exited = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(
        cls, argv: Sequence[str], env: Mapping[str, str], log: Path | None, cwd: str | None = None
    ) -> Process:
        """Raises OSError if the command cannot be started."""
        output = log.open("ab") if log else None
        try:
            started = await asyncio.create_subprocess_exec(
                *argv,
                env={**os.environ, **env},
                cwd=cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output or asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.STDOUT if output else asyncio.subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        finally:
            if output:
                output.close()
        return cls(started)

    async def stop(self, grace_s: float) -> None:
        """Sends SIGTERM to the group; after the grace period, or when the leader has ended, SIGKILL to the rest.

        With a grace period of 0, sends SIGKILL at once. A frozen group is thawed, so that it can handle SIGTERM.
        """
        if grace_s > 0:
            self._signal_group(signal.SIGTERM)
            self.thaw()
            await asyncio.wait({self.exited}, timeout=grace_s)
        await self.kill()

    def shorten_grace(self, grace_s: float) -> None:
        """During a stop: shortens the grace period to `grace_s` from now."""
        asyncio.get_running_loop().call_later(grace_s, self._kill_if_there)

    def freeze(self) -> None:
        """Stops the whole group with SIGSTOP: its sockets stay open, and nothing answers on them."""
        self.frozen = True
        self._signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self._signal_group(signal.SIGCONT)

    async def kill(self) -> None:
        self._signal_group(signal.SIGKILL)
        await asyncio.wait({self.exited}, timeout=GONE_WITHIN_S)
        for _ in range(int(GONE_WITHIN_S / 0.01)):
            # If pid 1 reaps late, dead members stay in the group for a while, and signals still reach it.
            if not self._signal_group(0) or not living_members(self.pid):
                return
            await asyncio.sleep(0.01)

    def _kill_if_there(self) -> None:
        # Once it has ended, its pid may be reused.
        if not self.exited.done():
            self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: int) -> bool:
        """False if the group has no process."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True

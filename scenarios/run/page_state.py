"""The state that Locust's web UI shows of a run, and what may be posted to it. Pure.

The page polls only while the state is "spawning" or "running". So an opening run is "spawning", and a closing run is "running".
"""

from dataclasses import dataclass

from contract.refusal import Refusal

# Runner states of Locust.
SPAWNING, RUNNING, CLEANUP, STOPPING = "spawning", "running", "cleanup", "stopping"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The state of a run at one time."""

    runner: str  # the state of Locust's runner
    starting: bool = False  # a start is being checked, or is checked and not started by Locust yet
    opening: bool = False
    on: bool = False
    stopping: bool = False  # it is on and its users are finishing
    closing: bool = False


def shown(now: Moment) -> str:
    if now.starting or now.opening:
        return SPAWNING
    if (now.on or now.closing) and now.runner != SPAWNING:
        return RUNNING
    return RUNNING if now.runner in (CLEANUP, STOPPING) else now.runner


def takes_edits(now: Moment) -> bool:
    """True: a posted form is an edit of the current run; False: it is a start.

    Raises Refusal if neither is possible now.
    """
    if now.starting or now.opening:
        raise Refusal("a run is being opened; wait until it is running")
    if now.on and not now.stopping and now.runner in (SPAWNING, RUNNING):
        return True
    if shown(now) == RUNNING:
        raise Refusal(
            "the last run is being closed (restoring faults, making the report); start again when it has stopped"
        )
    return False


def refuse_second_run(now: Moment) -> None:
    """Raises Refusal while a run is being opened, is open, or is being closed."""
    if takes_edits(now):
        raise Refusal("a run is open; stop it before you start another")

"""Which state Locust's web UI shows of a run, and what may be posted to it. Pure.

The page polls only while the state is "spawning" or "running". So a run that is being opened is "spawning", and one that
is being closed is "running".
"""

from dataclasses import dataclass

from contract.refusal import Refusal

# Locust's states of a runner.
SPAWNING, RUNNING, CLEANUP, STOPPING = "spawning", "running", "cleanup", "stopping"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment in the life of a run."""

    runner: str  # the state of Locust's runner
    starting: bool = False  # a start is being checked, or is checked and Locust has not begun it
    opening: bool = False
    on: bool = False
    stopping: bool = False  # it is on, and its users are finishing
    closing: bool = False


def shown(now: Moment) -> str:
    if now.starting or now.opening:
        return SPAWNING
    if (now.on or now.closing) and now.runner != SPAWNING:
        return RUNNING
    return RUNNING if now.runner in (CLEANUP, STOPPING) else now.runner


def takes_edits(now: Moment) -> bool:
    """Whether what is posted is an edit of the run that is on; else it is a start.

    Raises Refusal where neither can be taken now.
    """
    if now.starting or now.opening:
        raise Refusal("a run is being opened already; wait until it is running")
    if now.on and not now.stopping and now.runner in (SPAWNING, RUNNING):
        return True
    if shown(now) == RUNNING:
        raise Refusal(
            "the last run is being closed: faults are restored, the report is made; start again when it has stopped"
        )
    return False

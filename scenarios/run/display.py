"""Prints the events of chaos and the status line during a run, to a terminal or a log."""

import shutil
import sys

import gevent

from contract.messages import FaultEvent
from scenarios.gateway.status_line import live_line, move_line
from scenarios.run.context import RunContext

TERMINAL_S, LOG_S = 1.0, 5.0  # between two status lines
_ERASE = "\r\x1b[2K"


def shown(line: str, terminal: bool) -> str:
    """On a terminal, replace the status line."""
    return f"{_ERASE}{line}" if terminal else line


def print_event(event: FaultEvent, started_at: float) -> None:
    line = move_line(event, started_at)
    if line is not None:
        print(shown(line, sys.stdout.isatty()), flush=True)


def follow(context: RunContext) -> None:
    """Print the status line until this greenlet is killed."""
    terminal, progress = sys.stdout.isatty(), context.experiment.progress
    before, at = context.recording.tally.snapshot(), context.clock.now()
    while True:
        gevent.sleep(TERMINAL_S if terminal else LOG_S)
        width = shutil.get_terminal_size().columns if terminal else None
        tally, now = context.recording.tally.snapshot(), context.clock.now()
        restoring = progress.restoring.describe(now)
        line = live_line(progress.status, tally, before, now - at, width, context.started_at, restoring)
        before, at = tally, now
        print(shown(line, terminal), end="" if terminal else "\n", flush=True)

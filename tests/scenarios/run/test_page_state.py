"""What Locust's web UI shows of a run, and what may be posted to it."""

import subprocess
import sys

import pytest

from contract.refusal import Refusal
from scenarios.run.page_state import Moment, refuse_second_run, shown, takes_edits

OPENING, CLOSING = "a run is being opened", "the last run is being closed"


@pytest.mark.parametrize(
    ("moment", "state", "edits"),
    [
        (Moment(runner="ready"), "ready", False),
        (Moment(runner="stopped"), "stopped", False),
        (Moment(runner="ready", starting=True), "spawning", OPENING),
        (Moment(runner="stopped", opening=True), "spawning", OPENING),
        (Moment(runner="spawning", opening=True), "spawning", OPENING),
        (Moment(runner="spawning", on=True), "spawning", True),
        (Moment(runner="running", on=True), "running", True),
        (Moment(runner="running", on=True, stopping=True), "running", CLOSING),
        (Moment(runner="cleanup", on=True, stopping=True), "running", CLOSING),
        (Moment(runner="stopping", on=True, stopping=True), "running", CLOSING),
        (Moment(runner="stopped", closing=True), "running", CLOSING),
        (Moment(runner="cleanup"), "running", CLOSING),  # the start failed; its users are still stopping
        (Moment(runner="stopping"), "running", CLOSING),
        (Moment(runner="stopped", starting=True, closing=True), "spawning", OPENING),
    ],
)
def test_the_page_polls_from_the_start_until_the_run_is_closed(moment, state, edits):
    assert shown(moment) == state
    if isinstance(edits, bool):
        assert takes_edits(moment) is edits
    else:
        with pytest.raises(Refusal, match=edits):
            takes_edits(moment)
    if edits is False:
        refuse_second_run(moment)
    else:
        with pytest.raises(Refusal, match="a run is open; stop it" if edits is True else edits):
            refuse_second_run(moment)


def test_the_states_are_locusts():
    program = (
        "from locust import runners as r; from scenarios.run import page_state as p; "
        "assert (r.STATE_SPAWNING, r.STATE_RUNNING, r.STATE_CLEANUP, r.STATE_STOPPING) == "
        "(p.SPAWNING, p.RUNNING, p.CLEANUP, p.STOPPING)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0

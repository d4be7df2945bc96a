"""Why a run was cut short: the first reason that applies is the one in its manifest."""

import pytest

from contract.refusal import EXIT_ABORTED, EXIT_NOT_RESTORED, EXIT_UNKNOWN
from scenarios.run.ending import why_cut_short

EARLY = "signal: stopped before the end of the timeline"
GUARD = "guard: the round took longer than max 5m"


@pytest.mark.parametrize(
    ("broken", "early", "exit_code", "end_reason", "why"),
    [
        (None, False, 0, None, None),
        (
            None,
            False,
            EXIT_UNKNOWN,
            None,
            None,
        ),  # no fault was seen to be effective; the run was not cut short
        (None, False, 0, GUARD, None),
        (None, False, EXIT_ABORTED, GUARD, GUARD),
        (None, False, EXIT_UNKNOWN, "error: the guardian has died", "error: the guardian has died"),
        (None, False, EXIT_NOT_RESTORED, None, "error: a fault could not be restored"),
        (None, False, EXIT_NOT_RESTORED, GUARD, GUARD),
        (None, False, -9, None, "error: chaos was ended by SIGKILL"),
        (None, False, -15, GUARD, "error: chaos was ended by SIGTERM"),
        (None, False, 70, None, "error: chaos ended by an error of its own (exit code 70)"),
        (None, False, 1, None, "error: chaos ended with exit code 1"),
        (None, True, 0, None, EARLY),
        (None, True, EXIT_UNKNOWN, "leash: the load generator exited or closed its pipe", EARLY),
        (None, True, -9, None, EARLY),
        ("error: no worker is left", True, -9, GUARD, "error: no worker is left"),
    ],
)
def test_the_first_reason_that_applies_is_the_one(broken, early, exit_code, end_reason, why):
    assert why_cut_short(broken, early, exit_code, end_reason) == why

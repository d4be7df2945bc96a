"""Events into phases, whole and partial."""

import numpy as np
import pandas as pd
import pytest

from analysis.frames import EVENT_COLUMNS
from analysis.metrics.windows import phases_of, top_at, trials_of

WHOLE = [("inject", "begin", 10), ("inject", "commanded", 11), ("inject", "effective", 14),
         ("restore", "begin", 30), ("restore", "commanded", 31), ("restore", "effective", 35)]  # fmt: skip


LOST = {"again": True, "answered": "yes"}


def events(rows, step="s", target="vllm", trial=1, by="timeline", **more):
    table = pd.DataFrame(
        [
            {"at": float(at), "move": move, "stage": stage, "by": by, "step": step, "trial": trial, "fault": "f",
             "target": target, "detail": {"answered": "yes"} if (move, stage) == WHOLE[-1][:2] else None, "error": None} | more
            for move, stage, at in rows
        ],
        columns=list(EVENT_COLUMNS),
    )  # fmt: skip
    return table.sort_values("at", kind="stable")


def spans(trial):
    return [(p.name, p.start, p.end, p.open) for p in phases_of(trial)]


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (6, [("transition", 11, 14, False), ("in effect", 14, 31, False), ("restoring", 31, 35, False), ("settling", 35, 50, False)]),
        (5, [("transition", 11, 14, False), ("in effect", 14, 31, False), ("restoring", 31, 50, True)]),
        (4, [("transition", 11, 14, False), ("in effect", 14, 30, False), ("restoring", 30, 50, True)]),
        (3, [("transition", 11, 14, False), ("in effect", 14, 50, True)]),
        (2, [("transition", 11, 50, True)]),  # killed before the fault was verified
        (1, [("transition", 10, 50, True)]),  # begun, and perhaps commanded: unknown
    ],
)  # fmt: skip
def test_a_run_killed_after_each_stage_leaves_an_open_phase(stages, expected):
    (trial,) = trials_of(events(WHOLE[:stages]), ended_at=50.0)
    assert spans(trial) == expected


def test_a_transition_that_was_never_verified_lasts_until_the_restore():
    rows = [r for r in WHOLE if r[:2] != ("inject", "effective")]
    (trial,) = trials_of(events(rows), 50.0)
    assert spans(trial)[0] == ("transition", 11, 31, False)


def test_a_restore_by_the_guardian_closes_the_trial_and_is_named():
    both = pd.concat([events(WHOLE[:3]), events(WHOLE[3:], by="guardian", detail={"answered": "yes"})])
    (trial,) = trials_of(both, 50.0)
    assert (trial.restored_at, trial.restored_by) == (35.0, "guardian")


@pytest.mark.parametrize(
    ("later", "restored_at"),
    [
        ([(40, None)], 35.0),  # somebody else looked, too: it was up all the time
        ([(40, LOST)], 40.0),  # an inject arrived behind the first verification
        ([(40, LOST), (45, LOST), (48, None)], 45.0),
    ],
)
def test_a_target_that_was_lost_again_is_restored_by_the_last_of_its_restores(later, restored_at):
    rows = [
        events(WHOLE),
        *(events([("restore", "effective", at)], detail=d, by="guardian") for at, d in later),
    ]
    (trial,) = trials_of(pd.concat(rows), 50.0)
    assert trial.restored_at == restored_at


def test_settling_ends_where_the_next_trial_on_the_target_begins():
    again = [(m, s, at + 40) for m, s, at in WHOLE]
    first, second = trials_of(pd.concat([events(WHOLE), events(again, trial=2)]), 90.0)
    assert (first.ends_at, second.ends_at) == (50.0, 90.0)


def test_an_inject_that_was_refused_has_no_phases():
    (trial,) = trials_of(events([("inject", "fail", 10)], error="held by another"), 50.0)
    assert phases_of(trial) == []
    assert trial.errors == ("inject: held by another",)


def test_without_events_there_are_no_trials():
    assert trials_of(events([]), 50.0) == []


AT = np.array([10.5, 11.0, 34.9, 35.0])


def test_an_expected_top_is_of_the_first_rank_that_faults_do_not_hold_whole():
    trials = trials_of(events(WHOLE), 50.0)
    alone, balanced = [["vllm"], ["ollama"]], [["vllm", "other"], ["ollama"]]
    assert top_at(AT, "vllm", alone, trials).tolist() == [True, False, False, True]
    assert top_at(AT, "ollama", alone, trials).tolist() == [False, True, True, False]
    assert top_at(AT, "other", balanced, trials).tolist() == [True] * 4
    assert top_at(AT, "ollama", balanced, trials).tolist() == [False] * 4
    assert top_at(AT, "nobody", balanced, trials).tolist() == [False] * 4

"""Only an answer verifies a restore: one that the controller got, or one in the run's own records."""

from dataclasses import replace

import pandas as pd
import pytest

from analysis import frames, judge
from analysis.evidence import Evidence
from analysis.frames import EVENT_COLUMNS
from analysis.html import trials as trials_part
from analysis.judging.finding import Status
from analysis.metrics import availability
from analysis.metrics.answered import by_answers
from analysis.metrics.restored import restored_of
from analysis.metrics.windows import phases_of, trials_of
from analysis.reporting import summary, tables
from contract.records import Event
from contract.run import JsonLines
from tests.synthetic import make
from tests.synthetic_world import START, Hole

YES = {"answered": "yes"}
SILENT = {"answered": "unknown", "unanswered": "no topology was at hand"}
FOREIGN, AGAIN = {"foreign": True}, {"again": True}
NOT_SEEN = "ml/vllm restored, but not verified: vllm does not answer: refused"


def restore(*recorded, target="vllm"):
    """A fault from 10 to 30, and then (by, stage, at, detail or error) of its restore."""
    rows = [
        ("timeline", "inject", "begin", 10, None), ("timeline", "inject", "commanded", 11, None),
        ("timeline", "inject", "effective", 12, None),
        *((by, "restore", stage, at, more) for by, stage, at, more in recorded),
    ]  # fmt: skip
    table = pd.DataFrame(
        [
            {"at": float(at), "move": move, "stage": stage, "by": by, "step": "s", "trial": 1, "fault": "f", "target": target,
             "detail": more if isinstance(more, dict) else None, "error": more if isinstance(more, str) else None}
            for by, move, stage, at, more in rows
        ],
        columns=list(EVENT_COLUMNS),
    )  # fmt: skip
    return table.sort_values("at", kind="stable")


COMMANDED = ("timeline", "commanded", 31, None)


@pytest.mark.parametrize(
    ("recorded", "at", "by", "ready_at"),
    [
        ([("timeline", "effective", 35, YES)], 35, "timeline", None),
        ([("timeline", "effective", 35, SILENT)], None, None, 35),
        ([("guardian", "effective", 35, YES)], 35, "guardian", None),
        ([("guardian", "effective", 35, SILENT)], None, None, 35),
        # An event without that detail is not an answer, whatever program wrote it.
        ([("timeline", "effective", 35, {"replicas": 1})], None, None, 35),
        *(([(by, "effective", 35, None)], None, None, 35) for by in ("timeline", "guardian", "restore", "reaper", "takeover")),
        # The first answer counts, even if the target was ready before.
        ([("guardian", "effective", 35, SILENT), ("restore", "effective", 95, YES)], 95, "restore", 35),
        ([("timeline", "effective", 35, YES), ("guardian", "effective", 40, SILENT)], 35, "timeline", None),
        # Lost again: what was verified before is void.
        ([("timeline", "effective", 35, YES), ("guardian", "effective", 40, SILENT | AGAIN)], None, None, 40),
        ([("timeline", "effective", 35, YES), ("timeline", "effective", 40, YES | AGAIN)], 40, "timeline", None),
        ([("guardian", "effective", 35, SILENT), ("guardian", "effective", 40, YES | AGAIN)], 40, "guardian", None),
        # The program that saw it restored has reported that it was lost for good.
        ([("timeline", "effective", 35, YES), ("timeline", "fail", 40, "restored, and not seen to be back")], None, None, None),
        ([("guardian", "effective", 35, YES), ("guardian", "fail", 40, "restored, lost again, and not ready in time"),
          ("guardian", "effective", 50, YES)], 50, "guardian", None),
        # No such report.
        ([("timeline", "effective", 35, YES), ("timeline", "fail", 40, {"back": True})], 35, "timeline", None),
        ([("timeline", "effective", 35, YES), ("guardian", "fail", 40, "Unauthorized")], 35, "timeline", None),
        ([("guardian", "effective", 35, YES), ("guardian", "fail", 40, FOREIGN)], 35, "guardian", None),
        ([], None, None, None),
    ],
)  # fmt: skip
def test_a_restore_is_verified_by_an_answer_and_by_nothing_else(recorded, at, by, ready_at):
    found = restored_of(restore(COMMANDED, *recorded))
    assert (found.at, found.by, found.ready_at) == (at, by, ready_at)


@pytest.mark.parametrize(
    ("detail", "why"),
    [
        (SILENT, "no topology was at hand"),
        (None, "its event has no reason"),
        ({"answered": "unknown"}, "its event has no reason"),
    ],
)
def test_why_a_ready_target_was_not_verified_is_known(detail, why):
    assert restored_of(restore(("guardian", "effective", 35, detail))).unanswered == why


@pytest.mark.parametrize(
    ("recorded", "refused"),
    [
        ([COMMANDED, ("timeline", "fail", 40, NOT_SEEN)], NOT_SEEN),
        ([COMMANDED, ("timeline", "fail", 40, FOREIGN)], None),
        # It never commanded anything: it saw nothing of the target.
        ([("timeline", "fail", 40, "the claim is gone: another process restored the target")], None),
        (
            [
                ("guardian", "commanded", 31, None),
                ("guardian", "fail", 40, "restored, but not ready in time"),
            ],
            None,
        ),
    ],
)
def test_the_controllers_own_check_failed_only_where_it_had_commanded_the_restore(recorded, refused):
    assert restored_of(restore(*recorded)).refused == refused


def requests(*rows):
    """(via, tier, sent_at, ended_at) of good answers."""
    made = [
        {"request_id": f"req-{i}", "lane": "load", "via": via, "tier": tier, "good": True, "sent_at": float(sent), "ended_at": float(ended)}
        for i, (via, tier, sent, ended) in enumerate(rows)
    ]  # fmt: skip
    columns = ["request_id", "lane", "via", "tier", "good", "sent_at", "ended_at"]
    return pd.DataFrame(made, columns=columns).sort_values("sent_at", ignore_index=True)


READY = ("guardian", "effective", 35, SILENT)


@pytest.mark.parametrize(
    ("target", "rows", "at"),
    [
        ("vllm", [("gateway", "vllm", 36, 38)], 38),
        ("vllm", [("vllm", "vllm", 36, 38)], 38),
        ("vllm", [("gateway", "vllm", 36, 44), ("gateway", "vllm", 37, 39)], 39),
        ("gateway", [("gateway", "openai", 36, 38)], 38),
        ("vllm", [], None),
        ("vllm", [("gateway", "openai", 36, 38)], None),  # another tier's
        ("vllm", [("ollama", "ollama", 36, 38)], None),
        ("gateway", [("vllm", "vllm", 36, 38)], None),  # not through it
        (
            "vllm",
            [("gateway", "vllm", 34, 38)],
            None,
        ),  # sent before it was ready: a Pod that terminates may have given it
        ("vllm", [("gateway", "vllm", 61, 62)], None),  # after the end of what is looked at
    ],
)
def test_a_good_answer_by_the_target_itself_verifies_a_ready_target(target, rows, at):
    (trial,) = by_answers(trials_of(restore(READY, target=target), ended_at=60.0), requests(*rows))
    assert trial.restored_at == at
    assert (trial.restored_by, trial.witness is not None) == (("guardian", True) if at else (None, False))


def test_an_answer_that_failed_verifies_nothing():
    rows = requests(("gateway", "vllm", 36, 38)).assign(good=False)
    (trial,) = by_answers(trials_of(restore(READY), 60.0), rows)
    assert trial.restored_at is None


def test_an_answer_to_users_counts_where_it_came_before_the_one_to_a_later_restorer():
    events = restore(READY, ("restore", "effective", 50, YES))
    (early,) = by_answers(trials_of(events, 60.0), requests(("gateway", "vllm", 36, 38)))
    (late,) = by_answers(trials_of(events, 60.0), requests(("gateway", "vllm", 51, 52)))
    assert (early.restored_at, early.restored_by, early.back_from) == (38, "guardian", 35)
    assert (late.restored_at, late.restored_by, late.witness, late.back_from) == (50, "restore", None, 50)


def test_an_answer_after_the_next_fault_on_the_target_says_nothing_of_the_first():
    later = restore(READY).assign(trial=2)
    later["at"] += 40.0
    trials = trials_of(pd.concat([restore(READY), later]), 100.0)
    first, second = by_answers(trials, requests(("gateway", "vllm", 51, 52), ("gateway", "vllm", 80, 81)))
    assert (first.restored_at, second.restored_at) == (None, 81)


WAITING = [
    ("timeline", "waiting", 91, {"missing": "its process runs and does not answer", "waited_s": 60.0}),
    ("timeline", "waiting", 151, {"missing": "its process runs and does not answer", "waited_s": 120.0}),
]


def test_what_a_restore_waits_for_ends_no_phase():
    (trial,) = trials_of(restore(COMMANDED, *WAITING, ("timeline", "effective", 631, YES)), 700.0)
    spans = [(p.name, p.start, p.end, p.open) for p in phases_of(trial)]
    assert spans[-2:] == [("restoring", 31, 631, False), ("settling", 631, 700, False)]
    assert (trial.missing, trial.restore_waiting_at) == (("its process runs and does not answer",), 91)


@pytest.mark.parametrize("move", ["inject", "restore"])
def test_the_probe_is_not_taken_for_silent_while_it_waits_with_a_slow_move(move):
    events = restore(
        COMMANDED, ("timeline", "begin", 30, None), *WAITING, ("timeline", "effective", 631, YES)
    )
    events["move"] = move
    (trial,) = trials_of(events, 700.0)
    trial = replace(trial, begun_at=30.0, restore_begun_at=30.0 if move == "restore" else None)
    probe = pd.DataFrame(
        {"sent_at": [30.0 + 0.2 * i for i in range(305)] + [91.0 + 2.0 * i for i in range(305)]}
    )
    probe = probe.assign(
        scheduled_at=probe["sent_at"], lane="probe_new", via="gateway", good=True, latency_ms=20.0
    )
    covered = probe.iloc[:0]
    assert availability.unprobed(probe, covered, [trial], 30.0, 700.0).s == 0


HOLE = Hole("s", "vllm", at=10, length=10)


def in_place(*recorded):
    """The run's events, with these in the place of its restore."""
    kept = [e for e in HOLE.events("r") if e.move == "inject"]
    for by, stage, at, more in recorded:
        detail, error = (more, None) if isinstance(more, dict) else (None, more)
        kept.append(
            Event(
                START + at, "r", "restore", stage, by, "s", 1, HOLE.fault, "vllm", detail=detail, error=error
            )
        )
    return kept


def judged(made):
    run = Evidence(frames.read(made.path))
    found = judge.judge(run)
    return next(f for f in found.findings if f.name == "restored"), found, run


def test_a_guardians_restore_passes_by_an_answer_of_users_and_reports_it(tmp_path):
    recorded = [
        ("guardian", "begin", 20, None),
        ("guardian", "commanded", 20, None),
        ("guardian", "effective", 22.5, SILENT),
    ]
    finding, _, run = judged(
        make(tmp_path, [HOLE], 60, rate=2, probe_rate=0, pairs=0, events=in_place(*recorded))
    )
    assert finding.status is Status.PASS
    assert "s #1: verified by an answer of users (req-" in finding.evidence
    assert "restored by guardian" in finding.evidence
    (trial,) = run.trials
    assert trial.restored_at > trial.ready_at
    assert "verified by an answer of users" in summary.markdown(run, judge.judge(run))
    # Timed from when it was ready, because it is unknown how soon after that it would have answered.
    took, doubt = run.recovery(trial, 60.0)
    assert took.at - took.s == pytest.approx(START + 22.5)
    assert doubt is None
    assert "it took at most" in run.recovery(trial, 0.01)[1]


def test_a_restore_without_an_answer_is_unknown_without_later_requests_to_the_target(tmp_path):
    recorded = [
        ("guardian", "begin", 20, None),
        ("guardian", "commanded", 20, None),
        ("guardian", "effective", 22.5, SILENT),
    ]
    made = make(
        tmp_path, [replace(HOLE, sticky_s=100)], 60, rate=2, probe_rate=0, pairs=0, events=in_place(*recorded)
    )
    finding, found, run = judged(made)
    assert (finding.status, found.exit_code) == (Status.UNKNOWN, 5)
    words = "s #1 (scale_to_zero on vllm): restored by guardian at +22.5s, not verified by an answer (no topology was at hand); no answer by vllm"
    assert words in finding.reason
    assert "**not verified to be restored**" in summary.markdown(run, found)
    assert "not verified" in str(trials_part.tables(run, tables.failovers(run), tables.phases(run)))


def test_only_an_answer_verifies_a_restore_that_the_controller_did_not_and_a_manual_restore_does(
    tmp_path,
):
    recorded = [
        ("timeline", "begin", 20, None), ("timeline", "commanded", 20, None), ("timeline", "fail", 40, NOT_SEEN),
        ("guardian", "begin", 41, None), ("guardian", "commanded", 41, None), ("guardian", "effective", 41.5, SILENT),
    ]  # fmt: skip
    made = make(
        tmp_path, [replace(HOLE, sticky_s=100)], 60, rate=2, probe_rate=0, pairs=0, events=in_place(*recorded)
    )
    finding, found, run = judged(made)
    assert (finding.status, found.status, found.exit_code) == (Status.FAIL, "not_restored", 4)
    assert "vllm does not answer: refused" in finding.reason
    assert "guardian found it ready at +41.5s without an answer" in finding.reason
    was = run.frames.ended_at

    by_hand = JsonLines(made.path / "restore.jsonl")
    by_hand.append(in_place(("restore", "effective", 7200, YES))[-1])
    by_hand.close()
    finding, found, run = judged(made)
    assert finding.status is Status.PASS
    assert "restored by restore" in finding.evidence
    assert run.frames.ended_at == was  # nothing else is known of those two hours
    assert "vllm was back 1h59m40s after its restore began" in summary.markdown(run, found)


def test_a_restore_of_ten_minutes_reads_well(tmp_path):
    recorded = [("timeline", "begin", 20, None), ("timeline", "commanded", 20, None)]
    recorded += [
        ("timeline", "waiting", at, {"missing": "its process runs and does not answer"}) for at in (80, 320)
    ]
    recorded += [("timeline", "effective", 632, YES)]
    made = make(
        tmp_path,
        [replace(HOLE, restore_s=612)],
        660,
        rate=0.2,
        probe_rate=0.5,
        pairs=0,
        events=in_place(*recorded),
    )
    finding, found, run = judged(made)
    assert finding.status is Status.PASS
    line = "- s #1: vllm was back 10m12s after its restore began; it waited for: its process runs and does not answer"
    assert line in summary.markdown(run, found)
    shown = str(trials_part.tables(run, tables.failovers(run), tables.phases(run)))
    assert "'10m12s'" in shown
    row = tables.failovers(run).iloc[0]
    assert (row["restore_s"], row["restore_verified_by"]) == (612, "an answer to chaos")
    assert row["restore_waited_for"] == "its process runs and does not answer"

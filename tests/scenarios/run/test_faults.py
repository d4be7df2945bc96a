"""The chaos process: its command, the messages it gets, the meaning of its end."""

import sys
from pathlib import Path

import gevent
import pytest

from contract.messages import BadMessage, Counts, End, FaultEvent, Ready, Refused, Status
from contract.refusal import Refusal
from scenarios.gateway.tally import Snapshot
from scenarios.run.faults import Chaos, argv, counts, overhead_until, restore_argv
from scenarios.run.verdict import Verdict
from tests.scenarios.run.fakes import Process, options
from tests.scenarios.user_contexts import topology

RUN = [
    sys.executable, "-m", "chaos", "run", "--leash", "--run", "r", "--topology", "t.yaml", "--timeline", "l.yaml",
]  # fmt: skip
READY = Ready(1000.5, 60.0)
EVENT = FaultEvent(1010.0, "s", "vllm", "inject", "effective", None, None, None)
STATUS = Status(1001.0, 1.0, 60.0, 1, {"vllm": True}, None)


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, ["--seed", "1"]),
        ({"seed": 7, "duration": "24h"}, ["--seed", "7", "--duration", "24h"]),
        ({"without_reaper": True}, ["--seed", "1", "--without-reaper"]),
        ({"restore_within": "20m"}, ["--seed", "1", "--restore-within", "20m"]),
    ],
)
def test_chaos_is_given_the_run_and_what_the_operator_chose(given, more):
    assert argv(Path("r"), Path("t.yaml"), Path("l.yaml"), options(**given)) == RUN + more


@pytest.mark.parametrize(("within", "more"), [("", []), ("20m", ["--restore-within", "20m"])])
def test_what_a_killed_chaos_left_open_is_restored_with_the_same_patience(within, more):
    found = restore_argv(Path("t.yaml"), options(restore_within=within))
    assert found == [sys.executable, "-m", "chaos", "restore", "--topology", "t.yaml", *more]


def test_the_guards_get_the_cloud_s_answers_of_all_lanes_and_the_users_good_and_bad():
    tally = Snapshot(
        9, 9, 0, 0, {"ok": 7, "cut": 2}, {"vllm": 4, "openai": 3}, {"ok": 5, "cut": 1}, {"vllm": 4}
    )
    assert counts(tally, topology("http://gateway")) == Counts(cloud=3, good=5, bad=1)


def test_no_pair_is_sent_when_the_probe_is_about_to_send_more():
    assert overhead_until(1000.0, 30.0) == 1025.0


def chaos(process, events=None):
    return Chaos(
        ["chaos"], lambda: Counts(1, 2, 3), (events if events is not None else []).append, process.launch
    )


def test_chaos_that_is_ready_reports_when_its_clock_started():
    process = Process(READY)
    assert chaos(process).start() == 1000.5
    assert process.argv == ["chaos"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([Refused("kubeconfig /none: cannot be used")], "kubeconfig /none: cannot be used"),
        ([{"a": "traceback"}], r"chaos did not start \(exit 64\); no message"),
        ([STATUS], r"chaos did not start \(exit 64\); see the line above"),
        ([], r"chaos did not start \(exit 64\); see the line above"),
    ],
)
def test_chaos_that_does_not_start_refuses_the_run(lines, why):
    process = Process(*lines)
    process.end(64)
    with pytest.raises(Refusal, match=why):
        chaos(process).start()


def test_chaos_is_followed_to_its_end():
    events = []
    process = Process(READY, STATUS, EVENT, End("guard: g", []))
    process.end(3)
    found = chaos(process, events)
    found.start()
    found.follow()
    assert found.progress.status == STATUS
    assert process.received == [Counts(1, 2, 3)]
    assert events == [EVENT]
    assert found.progress.end_reason == "guard: g"
    assert found.over.get(timeout=0) == 3
    assert found.conclude(Verdict("PASS", 0), Path("r")) == Verdict("PASS", 0)


def test_a_stop_is_the_end_of_file_and_chaos_is_over_when_it_has_restored():
    process = Process(READY, code=5)
    found = chaos(process)
    found.start()
    following = gevent.spawn(found.follow)
    gevent.sleep(0)
    assert not found.over.ready()
    found.stop()
    following.join(timeout=5)
    assert process.let_go_of
    assert found.over.get(timeout=0) == 5


@pytest.mark.parametrize(
    "wrong", [{"no": "kind"}, READY, Counts(1, 2, 3)], ids=["no message", "a second start", "our own"]
)
def test_an_invalid_message_leaves_no_waiter_blocked(wrong):
    process = Process(READY, wrong, code=5)
    found = chaos(process)
    found.start()
    with pytest.raises(BadMessage):
        found.follow()
    assert found.over.get(timeout=0) == 5

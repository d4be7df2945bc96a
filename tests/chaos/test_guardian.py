"""The guardian restores when the controller is killed, with its whole group, or frozen; if it dies first, the run ends."""

import asyncio
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from chaos import faults
from chaos.errors import CannotInject
from chaos.kube.cluster import process_gone
from chaos.state_folder import default_folder
from chaos.stop import SIGNALS, Stop
from chaos.undo import guardian, lease
from chaos.undo.guardian import Bounded, Guardian, closing, mark, opening, under_test
from chaos.undo.guardian_link import LOG_MOST, GuardianLink, GuardianLog
from chaos.undo.journal import Journal, Undo
from contract.messages import Armed, Counts, Listening, Log, Message, NotArmed, Open, write
from contract.refusal import Refusal
from contract.topology import Topology
from tests.chaos.passing import Ahead, Passing
from tests.chaos.plain import DOWN, UP
from tests.chaos.plain import LONG as PLAIN
from tests.chaos.stand import LONG, events, until

# After the step's end plus this, other processes than the controller may act.
SOON = LONG.replace("for: 120s", "for: 4s")
BRIEF = PLAIN.replace("for: 120s", "for: 1s")


def small_topology() -> Topology:
    tier = {"name": "vllm", "match": {"group": "a"}, "model": "a"}
    return Topology.model_validate({"gateway": {"url": "http://g", "model": "a"}, "tiers": [tier]})


def guardian_of(process) -> int:
    """The pid of its guardian child process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (pid,) = [int(p) for p in children if b"guardian" in Path(f"/proc/{p}/cmdline").read_bytes()]
    return pid


def guardian_events(folder: Path) -> list[dict]:
    path = folder / "guardian.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_a_killed_groups_fault_is_restored_by_a_guardian_that_no_signal_ends(stand, chaos):
    process = chaos(stand)
    guardian = guardian_of(process)
    for number in SIGNALS:
        os.kill(guardian, number)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: stand.ready() == 1, "the target is back")
    until(lambda: process_gone(guardian), "the guardian has left")
    assert stand.leases() == []
    assert [(e["move"], e["stage"], e["by"]) for e in guardian_events(process.folder)] == [
        ("restore", "begin", "guardian"), ("restore", "commanded", "guardian"), ("restore", "effective", "guardian"),
    ]  # fmt: skip


def test_a_guardian_that_dies_first_makes_the_controller_restore_and_stop(commands, chaos):
    process = chaos(commands)
    os.kill(guardian_of(process), signal.SIGKILL)
    assert process.wait(30) == 5
    assert not commands.gone.exists()
    restore = next(e for e in events(process.folder) if e["move"] == "restore")
    assert restore["detail"] == {"because": "error: the guardian has died"}


def test_a_frozen_controllers_fault_is_restored_at_its_deadline_and_its_claim_is_gone_when_it_thaws(
    stand, chaos
):
    process = chaos(stand, "--restore-within", "1s", text=SOON)
    guardian = guardian_of(process)
    os.kill(process.pid, signal.SIGSTOP)
    until(
        lambda: [e for e in guardian_events(process.folder) if e["stage"] == "effective"],
        "the guardian has restored",
        30,
    )
    until(lambda: stand.leases() == [], "the target is free", 30)
    assert stand.ready() == 1
    log = default_folder().with_name("guardian.log")
    text = ": restored (ready 1, endpoints 1), verified by an answer"
    until(lambda: text in log.read_text(), "it has logged the restore, once the target is free")
    assert log.read_text().count(text) == 1
    stand.scale(2)  # the thawed controller must not undo a later change
    until(lambda: stand.observed(), "its status is that of two replicas")
    os.kill(process.pid, signal.SIGCONT)
    process.wait(30)
    assert stand.replicas() == 2
    assert "the claim is gone" in events(process.folder)[-1]["error"]
    assert "guardian: scale_to_zero on ml/vllm-server" in process.stderr.read()
    until(lambda: process_gone(guardian), "the guardian has left")


class Alone:
    """A guardian in this process without a controller: the test sends its messages. Use as a context manager."""

    def __init__(self, journal: Journal, time: Any) -> None:
        self._sent: queue.Queue[str] = queue.Queue()
        self._answers: queue.Queue[Message] = queue.Queue()
        self._guardian = Guardian(
            journal, time, self._answers.put, time.wait if isinstance(time, Passing) else time.sleep
        )
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> "Alone":
        self._thread.start()
        assert self.answer() == Listening()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def send(self, message: Message) -> None:
        self.send_line(write(message) + "\n")

    def send_line(self, line: str) -> None:
        self._sent.put(line)

    def answer(self) -> Message:
        return self._answers.get(timeout=20)

    def arm(self, undo: Undo) -> None:
        self.send(opening(undo))
        assert self.answer() == Armed(mark(undo))

    def end(self) -> None:
        """The controller is gone."""
        self.send_line("")

    def leave(self) -> int:
        """Returns the guardian's exit code when it has ended."""
        self.end()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.code

    def _follow(self) -> None:
        lines: Iterator[str] = iter(self._sent.get, "")
        self.code = self._guardian.follow(lines)


@pytest.fixture
def journal(state_home):
    return Journal(default_folder())


@pytest.fixture
def time():
    return Passing()


@pytest.fixture
def alone(journal, time, monkeypatch):
    monkeypatch.setattr(guardian, "LOOK_EVERY_S", 0.01)
    with Alone(journal, time) as found:
        yield found


def undo_of(name: str, deadline: float, tmp_path: Path) -> Undo:
    """Of a fault `noop`; its target is down."""
    file = tmp_path / name
    file.write_text(DOWN)
    return Undo(
        run="a-run", folder=str(tmp_path), step="gaming", trial=1, fault="noop", options={}, target="vllm", kind="process",
        handle=str(file), given={}, cluster=None, kubeconfig=None, embedded_pid=None, holder="host:1",
        deadline=deadline, state={},
    )  # fmt: skip


@pytest.fixture
def taken(file, journal, tmp_path):
    """Makes a target that a controller has taken away, and its record in the journal."""

    def make(name: str, deadline: float = 1e12) -> Undo:
        undo = undo_of(name, deadline, tmp_path)
        journal.open(undo)
        return undo

    return make


def is_(undo: Undo) -> str:
    return Path(undo.handle).read_text()


def test_what_is_open_when_its_controller_ends_is_restored_and_what_was_closed_is_not(alone, taken, journal):
    opened, closed = taken("opened"), taken("closed")
    alone.arm(opened)
    alone.arm(closed)
    alone.send(closing(closed))
    assert alone.leave() == 0
    assert (is_(opened), is_(closed)) == (UP, DOWN)
    assert journal.records() == [closed]


def test_what_is_past_its_deadline_is_restored_though_its_controller_is_there(alone, taken, journal, time):
    late, early = taken("late", deadline=1100.0), taken("early", deadline=9000.0)
    alone.arm(late)
    alone.arm(early)
    assert is_(late) == DOWN
    time.wait(150)
    until(lambda: journal.records() == [early], "the late one is closed")
    assert (is_(late), is_(early)) == (UP, DOWN)


def test_a_target_that_is_another_runs_by_now_is_left_to_it(alone, taken, journal):
    undo = taken("a")
    alone.arm(undo)
    journal.close(undo)
    another = replace(undo, run="another-run")
    journal.open(another)
    assert alone.leave() == 0
    assert is_(undo) == DOWN
    assert journal.records() == [another]


def test_a_record_that_it_cannot_act_on_is_reported_and_the_others_stay_armed(alone, taken):
    undo = taken("a")
    for one in (undo, replace(undo, fault="no_such_fault", handle="another")):
        alone.send(opening(one))
        answer = alone.answer()
        assert answer.of == mark(one)
        assert isinstance(answer, Armed if one is undo else NotArmed)
    assert alone.leave() == 0
    assert is_(undo) == UP


@pytest.mark.parametrize(
    "line",
    ["nonsense\n", '{"kind": "opne"}\n', write(Counts(1, 2, 3)) + "\n", write(Open('{"run": "r"}')) + "\n"],
    ids=["no JSON", "an unknown kind", "another's message", "no undo record"],
)
def test_an_invalid_line_is_logged_and_armed_faults_keep_their_guardian(alone, taken, line):
    undo = taken("a")
    alone.arm(undo)
    alone.send_line(line)
    answer = alone.answer()
    assert isinstance(answer, Log)
    assert answer.line.startswith("from the controller: ")
    assert alone.leave() == 0
    assert is_(undo) == UP


def test_a_line_that_was_torn_by_its_controllers_end_arms_nothing(alone, taken):
    undo = taken("a")
    alone.send_line(write(opening(undo)))
    assert alone.leave() == 0
    assert is_(undo) == DOWN


def test_an_inject_that_arrives_after_its_controller_died_is_found_and_restored(stand, tmp_path, journal):
    """The server delays the write; the controller dies between sending it and its arrival."""
    held, arrives = [], threading.Event()

    async def fail_once(request: web.Request, handler):
        if request.method != "PATCH" or held:
            return await handler(request)
        # A change of the object's version meanwhile, which refuses the write, would be random.
        body = json.loads(await request.read())
        body.get("metadata", {}).pop("resourceVersion", None)
        request._read_bytes = json.dumps(body).encode()
        held.append(request)
        while not arrives.is_set():
            await asyncio.sleep(0.02)
        return await handler(request)

    time = Ahead()
    undo = stand.undo(deadline=time.now() + 600, folder=tmp_path)
    journal.open(undo)
    assert lease.take(stand.client, undo, time.now())
    stand.intercept = fail_once
    inject = faults.make(undo.fault, stand.client, undo.made_on, {}).inject
    controller = ThreadPoolExecutor(1).submit(inject, undo.state)
    until(lambda: held, "the inject is on its way")
    time.stand_still()
    with Alone(journal, time) as alone:
        alone.send(under_test(stand.topology()))
        alone.arm(undo)
        alone.end()
        until(lambda: "effective" in stages(tmp_path), "it is as it was, so far")
        arrives.set()
        controller.result(20)

        def restored_again() -> bool:
            """Reported; or, where it was restored before its Pod was gone, seen when the guardian has ended: nothing was lost."""
            time.forward(0.02)  # half of real time: the wait until the next look must end
            return not alone._thread.is_alive() or (guardian_events(tmp_path)[-1]["detail"] or {}).get(
                "again"
            )

        until(restored_again, "it has come, and was restored")
        time.go_on()
        assert alone.leave() == 0
    assert stand.leases() == []
    assert (stand.replicas(), stand.ready()) == (1, 1)


def stages(folder: Path) -> list[str]:
    return [e["stage"] for e in guardian_events(folder)]


def test_a_reader_of_the_controllers_output_reads_its_end_although_the_guardian_continues(commands, chaos):
    """As with `2>&1 | tee log` in a job: the job ends with the controller, and the guardian still restores."""
    commands.restore_by(f"test -e {commands.folder}/may && rm -f {commands.gone}")
    theirs, ours = os.pipe()
    more, kept = os.pipe()  # any other descriptor that the job passes on
    os.set_inheritable(kept, True)
    process = chaos(commands, "--restore-within", "1s", text=BRIEF, output=ours, pass_fds=(kept,))
    os.close(ours)
    os.close(kept)
    guardian = guardian_of(process)
    held = {
        number: os.readlink(f"/proc/{guardian}/fd/{number}") for number in os.listdir(f"/proc/{guardian}/fd")
    }
    assert held["2"] == str(default_folder().with_name("guardian.log"))
    assert not {os.fstat(theirs).st_ino, os.fstat(more).st_ino} & {_pipe(to) for to in held.values()}
    with open(theirs) as output:
        text = output.read()  # to its end: this hung
    assert process.wait(30) == 4
    assert "NOT RESTORED" in text
    assert f"the guardian (process {guardian}) keeps trying for 24 h; its log: " in text
    assert not process_gone(guardian)
    os.close(more)
    (commands.folder / "may").touch()
    until(lambda: process_gone(guardian), "it has restored and left", 60)
    assert not commands.gone.exists()


def _pipe(to: str) -> int | None:
    return int(to.removeprefix("pipe:[")[:-1]) if to.startswith("pipe:[") else None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'no module named chaos' >&2; exit 1", "no module named chaos"),
        ("echo nonsense", "not a message: Invalid JSON"),
    ],
)
def test_a_guardian_that_does_not_start_reports_why_to_the_controller(tmp_path, monkeypatch, script, words):
    with pytest.raises(Refusal, match=f"the guardian did not start: {words}"):
        guarding_by(script, tmp_path, monkeypatch).ready()


def guarding_by(script: str, tmp_path: Path, monkeypatch) -> GuardianLink:
    """With a shell script for a guardian."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return GuardianLink(Stop(), small_topology())


def test_a_guardian_s_message_that_cannot_be_is_an_error_and_arms_nothing(tmp_path, monkeypatch, taken):
    lines = f"echo '{write(Listening())}'; echo '{write(Counts(1, 2, 3))}'; cat >/dev/null"
    guardian_link = guarding_by(lines, tmp_path, monkeypatch)
    guardian_link.ready()
    until(lambda: guardian_link._stop.reason, "the controller stops")
    assert guardian_link._stop.reason == "error: from the guardian: 'counts' is not a message from a guardian"
    guardian_link.leave()
    with pytest.raises(CannotInject, match="the guardian is not armed: it has exited"):
        guardian_link.arm(taken("a"))


def test_the_log_of_guardians_is_bounded_and_a_disk_that_takes_none_keeps_nobody_from_starting(tmp_path):
    path = tmp_path / "guardian.log"
    path.write_bytes(b"x" * (LOG_MOST + 1))
    log = GuardianLog(path)
    assert (path.stat().st_size, path.with_name("guardian.log.1").stat().st_size) == (0, LOG_MOST + 1)
    log.opened().write(b"a traceback\nValueError: why\n")
    log.close()
    assert log.last_line() == "ValueError: why"
    assert GuardianLog(path / "no" / "folder").opened() == subprocess.DEVNULL
    to = io.StringIO()
    bounded = Bounded(to, 10)
    for _ in range(5):
        bounded.write("four")
    assert to.getvalue() == "fourfourfo"

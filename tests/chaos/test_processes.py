"""Processes by their pidfile: killed, frozen, restored; and never another process than the one of the snapshot."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from chaos import faults
from chaos.errors import CannotInject
from chaos.fault import Deadman, Fault
from chaos.host import pidfile
from tests.chaos import targets
from tests.chaos.processes import Server
from tests.chaos.stand import until


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = Server(tmp_path)
    found.begin()
    yield found
    found.end()


def make(name: str, server: Server, start: bool = True) -> Fault:
    given = {"pidfile": str(server.pidfile), "start": server.start if start else None}
    handle = targets.given("process", given)
    return faults.make(name, None, targets.on(handle), {})


def kept(state: dict) -> dict:
    return json.loads(json.dumps(state))


def state_of(pid: int) -> str:
    found = pidfile.seen(pid)
    return found.state if found else "gone"


def test_a_killed_process_is_started_again_by_another_process_of_ours_and_once(server):
    fault = make("process_kill", server)
    assert fault.deadman is Deadman.GUARDIAN
    state, killed, child = kept(fault.snapshot()), server.pid(), server.child()
    assert fault.effective(state) is None
    fault.inject(state)
    until(lambda: fault.effective(state), "it is gone")
    until(lambda: state_of(child) in ("gone", "Z"), "its group is gone with it")

    restorer = make("process_kill", server)
    assert restorer.current(state) is None
    for _ in range(3):
        restorer.restore(state)
    another = make("process_kill", server)  # the first restorer was killed, too
    another.restore(state)
    until(lambda: restorer.restored(state), "it is back")
    first = server.pid()
    assert first != killed
    for one in (restorer, another, make("process_kill", server)):
        one.restore(state)
        assert one.restored(state) == {"process": "runs", "pid": first}
        one.disarm(state)
    assert server.pid() == first


def test_without_a_start_the_restore_waits_until_something_else_starts_it(server):
    fault = make("process_kill", server, start=False)
    assert fault.deadman is Deadman.NOT_NEEDED
    state = kept(fault.snapshot())
    fault.inject(state)
    until(lambda: fault.effective(state), "it is gone")
    fault.restore(state)
    assert fault.restored(state) is None
    server.pidfile.unlink()
    assert fault.restored(state) is None
    server.begin()
    assert fault.restored(state) == {"process": "runs", "pid": server.pid()}


def test_a_start_that_fails_is_reported_and_tried_again_but_not_in_a_loop(server, monkeypatch):
    fault = make("process_kill", server)
    state = kept(fault.snapshot())
    fault.inject(state)
    until(lambda: fault.effective(state), "it is gone")
    # However slow the machine is, the message is about the first start.
    monkeypatch.setattr("chaos.faults.process_kill.START_AGAIN_S", 600.0)
    right, fault.start = fault.start, ["false"]
    fault.restore(state)
    fault._child.wait()
    with pytest.raises(OSError, match=r"start of .*server\.pid: exit 1"):
        fault.restored(state)
    fault.start = right
    monkeypatch.setattr("chaos.faults.process_kill.START_AGAIN_S", 0.0)
    until(lambda: fault.restored(state), "it is back")
    server.pid()


def test_a_frozen_process_stands_still_with_its_group_and_goes_on(server):
    fault = make("process_freeze", server)
    assert fault.deadman is Deadman.GUARDIAN
    state = kept(fault.snapshot())
    assert fault.effective(state) is None
    fault.inject(state)
    until(lambda: fault.effective(state), "it stands still")
    until(lambda: state_of(server.child()) == "T", "its child, too")
    assert fault.restored(state) is None
    with pytest.raises(CannotInject, match="is stopped already"):
        make("process_freeze", server).snapshot()

    restorer = make("process_freeze", server)
    for _ in range(3):
        restorer.restore(state)
    until(lambda: restorer.restored(state), "it goes on")
    until(lambda: state_of(server.child()) != "T", "its child, too")


def test_a_frozen_process_that_was_killed_stays_gone(server):
    fault = make("process_freeze", server)
    state = kept(fault.snapshot())
    fault.inject(state)
    os.killpg(server.pid(), signal.SIGKILL)
    until(lambda: state_of(state["pid"]) in ("gone", "Z"), "it is gone: nothing is left to restore")
    fault.restore(state)
    assert fault.restored(state) == {"process": "gone", "pid": state["pid"]}


def test_a_continue_by_someone_else_is_seen(server, monkeypatch):
    monkeypatch.setattr("chaos.faults.process_freeze.LOOK_S", 0.01)
    fault = make("process_freeze", server)
    state = kept(fault.snapshot())
    over, moved, seen, really = threading.Event(), [], threading.Event(), fault.effective

    def effective(state):
        found = really(state)
        if found and threading.current_thread() is watch:
            seen.set()
        return found

    monkeypatch.setattr(fault, "effective", effective)
    watch = threading.Thread(target=lambda: moved.append(fault.moved(state, over.is_set)))
    watch.start()
    fault.inject(state)
    until(lambda: fault.effective(state), "it stands still")
    assert seen.wait(20), "it was not seen so"
    os.killpg(server.pid(), signal.SIGCONT)
    watch.join(10)
    over.set()
    assert moved == [f"process {state['pid']} was continued by someone else"]


@pytest.mark.parametrize("name", ["process_kill", "process_freeze"])
def test_a_process_that_was_replaced_since_is_not_touched(server, name):
    fault = make(name, server)
    state = kept(fault.snapshot())
    os.killpg(server.pid(), signal.SIGKILL)
    until(lambda: state_of(state["pid"]) in ("gone", "Z"), "it is gone")
    server.pidfile.unlink()
    later = server.begin()
    with pytest.raises(CannotInject, match="ended after the snapshot"):
        fault.inject(state)
    fault.restore(state)
    assert state_of(later) in ("S", "R")


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_one_that_was_killed(server):
    """The kernel has reused the pid, and the pidfile has not been written since."""
    fault = make("process_kill", server)
    state = kept(fault.snapshot())
    reused = state | {"start": state["start"] - 100}
    assert fault.effective(reused)
    assert fault.current(reused) is None
    with pytest.raises(CannotInject):
        fault.inject(reused)
    # Written since: processes of a container often get the same pids.
    server.pidfile.write_text(server.pidfile.read_text())
    assert fault.current(reused)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not hold a pid"),
        ("", "does not hold a pid"),
        ("nginx", "does not hold a pid"),
        ("1", "does not hold a pid"),
        ("4194999", "names process 4194999, which is not running"),
        ("our own", "names the controller itself"),
    ],
)
def test_what_is_no_process_of_theirs_is_refused(server, text, words):
    server.pid()  # kept, so that it is ended
    server.pidfile.unlink() if text is None else server.pidfile.write_text(
        str(os.getpid()) if text == "our own" else text
    )
    for name in ("process_kill", "process_freeze"):
        with pytest.raises(CannotInject, match=words):
            make(name, server).snapshot()


def test_a_pidfile_older_than_its_process_named_another(server):
    before = time.time() - 3600
    os.utime(server.pidfile, (before, before))
    with pytest.raises(CannotInject, match="it named an earlier process, which is gone"):
        make("process_kill", server).snapshot()


def test_a_process_that_leads_no_group_is_signalled_alone(tmp_path):
    """Its group is ours: the signal must not come back."""
    child = subprocess.Popen(["sleep", "600"])
    found = pidfile.seen(child.pid)
    assert found.group == os.getpgrp()
    pidfile.send_signal(found, signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    pidfile.send_signal(found, signal.SIGKILL)


def test_a_zombie_counts_as_gone_and_a_name_with_brackets_is_read(tmp_path):
    name = tmp_path / "a) R 1 (b"
    name.write_text("#!/bin/sh\nexit 0\n")
    name.chmod(0o755)
    child = subprocess.Popen([name], start_new_session=True)
    until(lambda: state_of(child.pid) == "Z", "it is not reaped yet")
    found = pidfile.seen(child.pid)
    assert found.gone
    assert found.group == found.session == child.pid
    assert pidfile.living(child.pid, found.start) is None
    child.wait()
    assert pidfile.seen(child.pid) is None

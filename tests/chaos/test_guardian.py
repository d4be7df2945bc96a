"""The guardian mends when the controller is killed, with its whole group, or frozen; and when it dies first, nothing goes on."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from chaos.cluster import process_gone
from chaos.guardian import Bounded, mark, open_line
from chaos.guarding import LOG_MOST, GuardianLog, Guarding
from chaos.journal import Undo, default_folder
from chaos.stop import Stop
from contract.refusal import Refusal
from contract.topology import Topology
from tests.chaos.stand import LONG, ROOT, events, until

SOON = LONG.replace("for: 120s", "for: 4s")


def small_topology() -> Topology:
    tier = {"name": "vllm", "match": {"group": "a"}, "model": "a"}
    return Topology.model_validate({"gateway": {"url": "http://g", "model": "a"}, "tiers": [tier]})


def guardian_of(process) -> int:
    """The pid of its one child that is a guardian."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (pid,) = [int(p) for p in children if b"guardian" in Path(f"/proc/{p}/cmdline").read_bytes()]
    return pid


def guardian_told(process) -> list[dict]:
    path = process.folder / "guardian.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("who", ["the controller", "its group"])
def test_a_killed_controllers_fault_is_mended_without_anybodys_doing(stand, chaos, who):
    process = chaos()
    guardian = guardian_of(process)
    if who == "the controller":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: stand.ready() == 1, "the target is back")
    until(lambda: process_gone(guardian), "the guardian has left")
    assert stand.leases() == []
    told = guardian_told(process)
    assert [(e["move"], e["stage"], e["by"]) for e in told] == [
        ("mend", "begin", "guardian"), ("mend", "commanded", "guardian"), ("mend", "effective", "guardian"),
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_does_not_end_the_guardian(stand, chaos, number):
    process = chaos()
    guardian = guardian_of(process)
    os.kill(guardian, number)
    process.kill()
    process.wait()
    until(lambda: stand.ready() == 1, "the target is back")
    until(lambda: process_gone(guardian), "the guardian has left")


def test_a_guardian_that_dies_first_makes_the_controller_mend_and_stop(stand, chaos):
    process = chaos()
    os.kill(guardian_of(process), signal.SIGKILL)
    assert process.wait(30) == 5
    assert stand.ready() == 1
    mend = next(e for e in events(process.folder) if e["move"] == "mend")
    assert mend["detail"] == {"because": "error: the guardian has died"}


def test_a_frozen_controllers_fault_is_mended_at_its_deadline_and_its_claim_is_gone_when_it_thaws(
    stand, chaos
):
    process = chaos("--restore-within", "1s", text=SOON)
    guardian = guardian_of(process)
    os.kill(process.pid, signal.SIGSTOP)
    until(
        lambda: [e for e in guardian_told(process) if e["stage"] == "effective"],
        "the guardian has mended",
        30,
    )
    until(lambda: stand.leases() == [], "the target is free", 30)
    assert stand.ready() == 1
    log = default_folder().with_name("guardian.log")
    said = ": restored (ready 1, endpoints 1), verified by an answer"
    until(lambda: said in log.read_text(), "it has said so, which it does once the target is free")
    assert log.read_text().count(said) == 1
    stand.scale(2)  # what anybody does now must not be undone by the thawed one
    until(lambda: stand.observed(), "its status is that of two replicas")
    os.kill(process.pid, signal.SIGCONT)
    process.wait(30)
    assert stand.replicas() == 2
    assert "the claim is gone" in events(process.folder)[-1]["error"]
    assert "guardian: scale_to_zero on ml/vllm-server" in process.stderr.read()
    until(lambda: process_gone(guardian), "the guardian has left")


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A guardian without a controller: what is said to it is the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos", "guardian"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert "ready" in json.loads(process.stdout.readline())
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def touching(path: Path) -> Undo:
    """Of a fault whose mend makes a file."""
    given = {"inject": ["true"], "check": ["test", "-e", str(path)], "mend": ["touch", str(path)]}
    return Undo(
        run="a-run", folder=None, step="gaming", trial=1, fault="command", options={}, target="vllm", kind="command",
        handle=path.name, given=given, cluster=None, kubeconfig=None, embedded_pid=None, holder="host:1",
        deadline=1e12, state={"group_file": f"{path}.group"},
    )  # fmt: skip


def test_a_record_that_it_cannot_act_on_is_told_and_costs_the_others_nothing(alone, tmp_path):
    undo = touching(tmp_path / "mended")
    for one in (undo, replace(undo, fault="no_such_fault", handle="another")):
        alone.stdin.write(open_line(one) + "\n")
        alone.stdin.flush()
        answer = json.loads(alone.stdout.readline())
        assert answer["of"] == mark(one)
        assert ("why" in answer) == (one is not undo)
    alone.stdin.close()
    assert alone.wait(30) == 0
    assert (tmp_path / "mended").exists()


def test_a_line_that_was_torn_by_its_controllers_end_arms_nothing(alone, tmp_path):
    alone.stdin.write(open_line(touching(tmp_path / "mended")))
    alone.stdin.close()
    assert alone.wait(30) == 0
    assert not (tmp_path / "mended").exists()


def test_an_inject_that_arrives_after_its_controller_died_is_found_and_mended(stand, chaos):
    """The server holds the write back; the controller is killed between sending it and its arrival."""
    held = []

    async def trouble(request: web.Request, handler):
        if request.method != "PATCH" or held:
            return await handler(request)
        await request.read()

        async def later() -> web.StreamResponse:
            await asyncio.sleep(2.0)
            return await handler(request)

        held.append(asyncio.ensure_future(later()))
        return await asyncio.shield(held[0])  # the client's death does not take it back

    stand.trouble = trouble
    process = chaos(wait_for="begin")
    until(lambda: held, "the inject is on its way")
    process.kill()
    process.wait()
    until(lambda: stand.leases() == [], "the guardian has watched on and given the target back", 40)
    assert (stand.replicas(), stand.ready()) == (1, 1)


def test_who_reads_the_controllers_output_reads_its_end_although_the_guardian_goes_on(stand, chaos, tmp_path):
    """As `2>&1 | tee log` in a job does: the job ends with the controller, and the guardian mends all the same."""
    down = threading.Event()

    async def trouble(request: web.Request, handler):
        return web.Response(status=503) if down.is_set() else await handler(request)

    stand.trouble = trouble
    theirs, ours = os.pipe()
    more, kept = os.pipe()  # any other descriptor that the job has handed down
    os.set_inheritable(kept, True)
    process = chaos("--restore-within", "1s", text=SOON, output=ours, pass_fds=(kept,))
    os.close(ours)
    os.close(kept)
    guardian = guardian_of(process)
    held = {
        number: os.readlink(f"/proc/{guardian}/fd/{number}") for number in os.listdir(f"/proc/{guardian}/fd")
    }
    assert held["2"] == str(default_folder().with_name("guardian.log"))
    assert not {os.fstat(theirs).st_ino, os.fstat(more).st_ino} & {_pipe(to) for to in held.values()}
    down.set()
    with open(theirs) as output:
        said = output.read()  # to its end: this hung
    assert process.wait(30) == 4
    assert "NOT RESTORED" in said
    assert f"the guardian (process {guardian}) goes on trying for 24 h; its log: " in said
    assert not process_gone(guardian)
    os.close(more)
    down.clear()
    until(lambda: process_gone(guardian), "it has mended and left", 60)
    assert stand.ready() == 1


def _pipe(to: str) -> int | None:
    return int(to.removeprefix("pipe:[")[:-1]) if to.startswith("pipe:[") else None


def test_a_guardian_that_does_not_start_says_why_to_the_controller(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'no module named chaos' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(Refusal, match="the guardian did not start: no module named chaos"):
        Guarding(Stop(), small_topology()).ready()


def test_the_log_of_guardians_is_bounded_and_a_disk_that_takes_none_keeps_nobody_from_starting(tmp_path):
    path = tmp_path / "guardian.log"
    path.write_bytes(b"x" * (LOG_MOST + 1))
    log = GuardianLog(path)
    assert (path.stat().st_size, path.with_name("guardian.log.1").stat().st_size) == (0, LOG_MOST + 1)
    log.opened().write(b"a traceback\nValueError: why\n")
    log.close()
    assert log.last_words() == "ValueError: why"
    assert GuardianLog(path / "no" / "folder").opened() == subprocess.DEVNULL
    to = io.StringIO()
    bounded = Bounded(to, 10)
    for _ in range(5):
        bounded.write("four")
    assert to.getvalue() == "fourfourfo"

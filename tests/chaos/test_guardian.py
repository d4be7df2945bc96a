"""The guardian mends when the controller is killed, with its whole group, or frozen; and when it dies first, nothing goes on."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from aiohttp import web

from chaos.cluster import process_gone
from tests.chaos.stand import LONG, events, until

SOON = LONG.replace("for: 120s", "for: 2s")


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
    process = chaos("--mend-within", "1s", text=SOON)
    guardian = guardian_of(process)
    os.kill(process.pid, signal.SIGSTOP)
    until(
        lambda: [e for e in guardian_told(process) if e["stage"] == "effective"],
        "the guardian has mended",
        30,
    )
    until(lambda: stand.leases() == [], "the target is free", 30)
    assert stand.ready() == 1
    stand.scale(2)  # what anybody does now must not be undone by the thawed one
    os.kill(process.pid, signal.SIGCONT)
    process.wait(30)
    assert stand.replicas() == 2
    assert "the claim is gone" in events(process.folder)[-1]["error"]
    until(lambda: process_gone(guardian), "the guardian has left")


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

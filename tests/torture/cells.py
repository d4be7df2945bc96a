"""The matrix: what is done to which process at which moment of a fault.

A cell is a function of a bench and a random generator. It raises AssertionError where the target is not as it should be, and
returns the time at which the signals were sent (Unix, s).
"""

import importlib
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from chaos.kube.names import LABEL
from contract.handles.node import LOCKS
from tests.chaos.stand import until
from tests.torture.bench import Bench, Controller
from tests.torture.gate import MOMENTS, Gate

SendSignals = Callable[[Controller, Random], None]
Cell = Callable[[Bench, Random], float]

LONG_S = 120.0
SHORT_S = 2.5
DELAY_S = (0.1, 5.0)  # of an inject that is still on its way
IN_EFFECT = "in effect"


def _signals(*numbers: signal.Signals, group: bool = False) -> SendSignals:
    def send_signals(controller: Controller, rng: Random) -> None:
        for i, number in enumerate(numbers):
            if i:
                time.sleep(rng.uniform(0.0, 0.3))  # the pause between two signals differs by trial
            if controller.process.poll() is None:
                (os.killpg if group else os.kill)(controller.pid, number)

    return send_signals


SIGNALS: dict[str, SendSignals] = {
    "INT": _signals(signal.SIGINT),
    "TERM": _signals(signal.SIGTERM),
    "HUP": _signals(signal.SIGHUP),
    "QUIT": _signals(signal.SIGQUIT),
    "KILL": _signals(signal.SIGKILL),
    "KILL of the group": _signals(signal.SIGKILL, group=True),
    "INT twice": _signals(signal.SIGINT, signal.SIGINT),
    "TERM twice": _signals(signal.SIGTERM, signal.SIGTERM),
    "INT, then KILL": _signals(signal.SIGINT, signal.SIGKILL),
}


def _signalled(moment: str, send_signals: SendSignals, bench: Bench, rng: Random) -> float:
    """Signals to the controller at a moment; then the target is up, no process of ours is left and no record is open."""
    lasts = SHORT_S if moment in ("mid-restore", "after") else LONG_S
    if moment == IN_EFFECT:
        controller = bench.chaos(lasts)
        controller.await_event("inject", "effective")
        controller.guardian()
        time.sleep(rng.uniform(0.0, 0.5))
        at = time.time()
        send_signals(controller, rng)
    else:
        gate = Gate(MOMENTS[moment], delay_s=rng.uniform(0.0, 0.2))
        bench.stand.intercept = gate
        controller = bench.chaos(lasts)
        controller.guardian()
        assert gate.reached.wait(90), f"never {moment}: {controller.log()}"
        at = time.time()
        send_signals(controller, rng)
        gate.open()
        assert gate.delivered.wait(30)
    _settled(bench, controller)
    return at


def _settled(bench: Bench, controller: Controller) -> None:
    controller.wait()
    controller.await_guardian_gone()
    bench.await_up()
    _closed(bench)


def _closed(bench: Bench) -> None:
    """A claim that a killed controller did not use yet stays until `restore`, which closes it and does not change the target."""
    assert bench.up(), "the target is not up"
    if bench.open_records() or _leases(bench):
        assert bench.command("restore").wait(60) == 0, "restore could not close what was open"
        _lease_alone(bench)
    assert bench.up(), "restore changed the target"
    assert not bench.open_records(), "a record is open"
    assert not _leases(bench), "a Lease is held"


def _lease_alone(bench: Bench) -> None:
    """A Lease whose controller was killed before it got the answer."""
    if _leases(bench):
        assert bench.command("restore", "--topology", str(bench.run / "topology.yaml")).wait(60) == 0


def _frozen(moment: str, bench: Bench, rng: Random) -> float:
    """Stopped; the guardian restores at the deadline; thawed, the controller writes nothing that it may not write."""
    if moment == IN_EFFECT:
        controller = bench.chaos(SHORT_S, restore_within="1s")
        controller.await_event("inject", "commanded")
        gate = None
    else:
        gate = Gate(MOMENTS[moment])
        bench.stand.intercept = gate
        controller = bench.chaos(SHORT_S, restore_within="1s")
        # Now: on a busy machine it is the guardian that has restored by then, and the controller leaves soon after.
        controller.guardian()
        assert gate.reached.wait(90), f"never {moment}"
    guardian_armed = moment in ("mid-inject", IN_EFFECT, "mid-restore")
    controller.guardian()
    at = time.time()
    os.kill(controller.pid, signal.SIGSTOP)
    try:
        if gate:
            gate.open()
        if guardian_armed:
            until(lambda: bench.stand.leases() == [], "the guardian has restored and released the claim", 60)
            assert bench.up()
        else:
            time.sleep(rng.uniform(2.5, 4.0))  # past the step, frozen
    finally:
        os.kill(controller.pid, signal.SIGCONT)
    _settled(bench, controller)
    return at


def guardian_first(bench: Bench, rng: Random) -> float:
    controller = bench.chaos(LONG_S)
    controller.await_event("inject", "effective")
    guardian = controller.guardian()
    at = time.time()
    os.kill(guardian, signal.SIGKILL)
    assert controller.wait() == 5
    restore = next(e for e in controller.events() if e["move"] == "restore")
    assert restore["at"] - at < 1.0, f"noticed after {restore['at'] - at:.2f} s"
    _settled(bench, controller)
    return at


def _both_killed(bench: Bench, **fault: str) -> float:
    controller = bench.chaos(SHORT_S, restore_within="2s", **fault)
    controller.await_event("inject", "commanded")
    guardian = controller.guardian()
    at = time.time()
    os.kill(guardian, signal.SIGSTOP)  # so that it does not act before it is killed
    os.killpg(controller.pid, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    controller.wait()
    return at


def both_killed_reaper(bench: Bench, rng: Random) -> float:
    at = _both_killed(bench)
    assert bench.stand.replicas() == 0, "restored though every process of ours was killed"
    _reaped(bench)
    return at


def _reaped(bench: Bench) -> None:
    reaper = bench.command(
        "reaper", "--kubeconfig", str(bench.stand.kubeconfig), "--namespace", "ml", "--namespace", LOCKS,
        state="another-machine",
    )  # fmt: skip
    bench.await_up()
    until(lambda: not _leases(bench), "the reaper has released the claim", 30)
    reaper.terminate()
    assert reaper.wait(30) == 0
    _closed(bench)


def both_killed_restore(bench: Bench, rng: Random) -> float:
    """From the journal, or from another machine by the Lease alone."""
    at = _both_killed(bench)
    assert bench.stand.replicas() == 0, "restored though every process of ours was killed"
    _restored(bench, rng)
    return at


def _restored(bench: Bench, rng: Random) -> None:
    if rng.random() < 0.5:
        done = bench.command("restore")
    else:
        topology = str(bench.run / "topology.yaml")
        done = bench.command("restore", "--topology", topology, state="another-machine")
    assert done.wait(60) == 0
    assert bench.up()
    _closed(bench)


def _leases(bench: Bench) -> list[dict[str, Any]]:
    return bench.stand.leases() + list(bench.stand.client.leases(LOCKS, LABEL))


# Every other driver, in effect when its controller gets signals; and what restores when the guardian is killed, too.
DRIVERS = {
    "network_blackhole": {},
    "node_drain": {},
    "pod_kill": {},
    "process_freeze": {},
    "process_kill": {},
    "command": {},
    "engine": {"options": "{answer: no_response}"},
}
ON_CLUSTER = ("network_blackhole", "node_drain")


def _driver_signalled(fault: str, send_signals: SendSignals, bench: Bench, rng: Random) -> float:
    controller = bench.chaos(LONG_S, fault=fault, **DRIVERS[fault])
    controller.await_event("inject", "effective")
    controller.guardian()
    time.sleep(rng.uniform(0.0, 0.5))
    at = time.time()
    send_signals(controller, rng)
    _settled(bench, controller)
    until(bench.stand.answers, "the engine answers", 30)
    return at


def _driver_both_killed(fault: str, bench: Bench, rng: Random) -> float:
    at = _both_killed(bench, fault=fault, **DRIVERS[fault])
    if fault in ON_CLUSTER and rng.random() < 0.5:
        _reaped(bench)
    elif fault != "engine":  # which ends by itself
        assert bench.command("restore").wait(60) == 0
    until(bench.stand.answers, "the engine answers", 30)
    _closed(bench)
    return at


def original_zero(bench: Bench, rng: Random) -> float:
    bench.stand.scale(0)
    controller = bench.chaos(SHORT_S)
    controller.wait()
    assert controller.stages() == [("inject", "fail")]
    assert bench.stand.replicas() == 0
    assert not bench.open_records()
    assert not bench.stand.leases()
    bench.stand.scale(1)
    return time.time()


def second_controller(bench: Bench, rng: Random) -> float:
    first = bench.chaos(LONG_S)  # longer than the second takes to begin
    first.await_event("inject", "commanded")
    home, bench.run = bench.run, bench.run / "second"
    bench.run.mkdir()
    at = time.time()
    second = bench.chaos(SHORT_S)
    second.wait()
    assert second.stages() == [("inject", "fail")]
    assert "is held by" in second.events()[0]["error"]
    bench.run = home
    assert ("restore", "begin") not in first.stages(), "the first was over before the second began"
    first.process.terminate()
    _settled(bench, first)
    return at


def stale_lock(bench: Bench, rng: Random) -> float:
    """The record that both killed processes left open is past its deadline: the next run restores first, and goes on."""
    at = _both_killed(bench)
    home, bench.run = bench.run, bench.run / "second"
    bench.run.mkdir()
    until(lambda: time.time() > at + 4.0, "the deadline has passed")
    second = bench.chaos(12.0)
    assert second.wait() == 0, second.log()
    assert ("inject", "takeover") in second.stages()
    bench.run = home
    bench.await_up()
    _closed(bench)
    return at


def disk_full(bench: Bench, rng: Random) -> float:
    """No file may grow beyond a block: the undo record cannot be written."""
    controller = bench.chaos(SHORT_S, shell="ulimit -f 1")
    controller.wait()
    assert ("inject", "commanded") not in controller.stages()
    assert all(replicas for _, replicas, _ in bench.moved), "it was injected all the same"
    _closed(bench)
    return time.time()


def never_answers(bench: Bench, rng: Random) -> float:
    """Ready by its own machinery, and no answer to a request: not restored for any restorer, until it answers."""
    controller = bench.chaos(SHORT_S, restore_within="2s", url="http://127.0.0.1:9")
    controller.await_event("restore", "commanded")
    controller.guardian()
    assert controller.wait() == 4, controller.log()
    assert "restored, but not verified" in controller.events()[-1]["error"]
    at = time.time()
    assert bench.command("restore", "--restore-within", "1s").wait(60) == 4, (
        "restore accepted a target that does not answer"
    )
    assert bench.open_records(), "a record was closed without an answer"
    answering = bench.stand.write_topology(bench.run / "answering.yaml")
    assert bench.command("restore", "--topology", str(answering)).wait(60) == 0
    _settled(bench, controller)
    return at


def inject_on_its_way(bench: Bench, rng: Random) -> float:
    """The controller is killed between sending the inject and its arrival, up to five seconds later."""
    gate = Gate(MOMENTS["mid-inject"], delay_s=rng.uniform(*DELAY_S))
    bench.stand.intercept = gate
    controller = bench.chaos(LONG_S)
    assert gate.reached.wait(90)
    controller.guardian()
    at = time.time()
    os.kill(controller.pid, signal.SIGKILL)
    gate.open()
    assert gate.delivered.wait(30)
    _settled(bench, controller)
    return at


MORE = (
    "cells_admission",
    "cells_api",
    "cells_cluster",
    "cells_foreign",
    "cells_record",
)  # files of cells beside this one, which they import


def matrix() -> dict[str, Cell]:
    """Every cell by its name."""
    moments = ["before the record", "after the record", "mid-inject", IN_EFFECT, "mid-restore", "after"]
    cells: dict[str, Cell] = {}
    for name, send_signals in SIGNALS.items():
        for moment in moments:
            cells[f"{name} · {moment}"] = partial(_signalled, moment, send_signals)
    for moment in moments:
        cells[f"STOP to the deadline · {moment}"] = partial(_frozen, moment)
    for cell in (
        guardian_first, both_killed_reaper, both_killed_restore, inject_on_its_way, original_zero,
        second_controller, stale_lock, disk_full, never_answers,
    ):  # fmt: skip
        cells[cell.__name__.replace("_", " ")] = cell
    for fault in DRIVERS:
        for name in ("TERM", "KILL", "KILL of the group"):
            cells[f"{name} · in effect · {fault}"] = partial(_driver_signalled, fault, SIGNALS[name])
        cells[f"both killed · {fault}"] = partial(_driver_both_killed, fault)
    for more in MORE:
        cells |= importlib.import_module(f"tests.torture.{more}").cells()
    return cells

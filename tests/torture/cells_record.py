"""Cells in which the record of a fault is deleted while it lasts: on the cluster, as `kubectl delete lease --all` does, or
on the disk."""

import os
import signal
import time
from functools import partial
from random import Random

from tests.chaos.stand import until
from tests.torture.bench import Bench, Controller
from tests.torture.cells import LONG_S, SHORT_S, Cell, _leases, _reaped, _settled
from tests.torture.gate import MOMENTS, Gate


def _delete_leases(bench: Bench) -> None:
    for held in _leases(bench):
        meta = held["metadata"]
        bench.stand.client.delete_lease(meta["namespace"], meta["name"], meta["uid"])


def _delete_journal(bench: Bench) -> None:
    for path in (bench.run / "state" / "brownout" / "journal").glob("*.json"):
        path.unlink()


def _delete_both(bench: Bench) -> None:
    _delete_leases(bench)
    _delete_journal(bench)


DELETE = {"Lease": _delete_leases, "journal": _delete_journal, "Lease and journal": _delete_both}


def _in_effect(
    bench: Bench, for_s: float, what: str, rng: Random, fault: str = "scale_to_zero", within: str = "60s"
) -> Controller:
    controller = bench.chaos(for_s, restore_within=within, fault=fault)
    controller.await_event("inject", "effective")
    controller.guardian()
    time.sleep(rng.uniform(0.0, 0.5))
    DELETE[what](bench)
    return controller


def _lives_on(what: str, bench: Bench, rng: Random) -> float:
    """The controller restores at the step's end, without an error."""
    controller = _in_effect(bench, SHORT_S + 1, what, rng)
    at = time.time()
    assert controller.wait() == 0, controller.log()
    assert controller.events()[-1]["stage"] == "effective"
    _settled(bench, controller)
    return at


def _killed(what: str, fault: str, bench: Bench, rng: Random) -> float:
    """The guardian restores, whether or not the controller has made the record again."""
    controller = _in_effect(bench, LONG_S, what, rng, fault)
    time.sleep(rng.uniform(0.0, 7.0))
    at = time.time()
    os.kill(controller.pid, signal.SIGKILL)
    _settled(bench, controller)
    until(bench.stand.answers, "the engine answers", 30)
    return at


def both_killed_after_the_record_was_made_again(bench: Bench, rng: Random) -> float:
    """No process of ours lives, and the reaper finds the Lease that the controller has made again."""
    controller = _in_effect(bench, 9.0, "Lease", rng, within="2s")
    controller.await_event("inject", "reclaimed")
    at = time.time()
    guardian = controller.guardian()
    os.kill(guardian, signal.SIGSTOP)
    os.killpg(controller.pid, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    controller.wait()
    _reaped(bench)
    return at


def deleted_mid_restore(bench: Bench, rng: Random) -> float:
    gate = Gate(MOMENTS["mid-restore"])
    bench.stand.intercept = gate
    controller = bench.chaos(SHORT_S)
    assert gate.reached.wait(90)
    controller.guardian()
    at = time.time()
    _delete_leases(bench)
    if rng.random() < 0.5:
        os.kill(controller.pid, signal.SIGKILL)
    gate.open()
    _settled(bench, controller)
    return at


def cells() -> dict[str, Cell]:
    """Every cell by its name."""
    found: dict[str, Cell] = {}
    for what in DELETE:
        found[f"{what} deleted · the controller lives"] = partial(_lives_on, what)
        found[f"{what} deleted · KILL"] = partial(_killed, what, "scale_to_zero")
    found["journal deleted · KILL · process_freeze"] = partial(_killed, "journal", "process_freeze")
    found["Lease deleted · both killed, reaper"] = both_killed_after_the_record_was_made_again
    found["Lease deleted · mid-restore"] = deleted_mid_restore
    return found

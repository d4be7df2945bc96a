"""Cells of a cluster whose admission changes our scales, and of a target behind two Services; listed with the others."""

import os
import signal
import threading
import time
from functools import partial
from random import Random

from embedded.apiserver import admission
from tests.torture.bench import Bench
from tests.torture.cells import IN_EFFECT, LONG_S, SHORT_S, SIGNALS, Cell, _closed, _restored, _settled
from tests.torture.gate import MOMENTS, Gate

BLOWS = ("TERM", "KILL", "KILL of the group")
WITHIN_S = 90.0  # many trials run at a time


def _two_of_none(wanted: int) -> int:
    """A number that is neither the original, 1, nor what is set, 0."""
    return wanted or 2


def _changed(bench: Bench) -> None:
    """By a webhook with side effects: no dry run shows what it does."""
    rule = admission.replicas("two-of-none", _two_of_none, side_effects=True)
    bench.stand.cluster.writes.admission = [rule]


def seen_before(bench: Bench, chance: Random) -> float:
    """A dry run shows it: nothing is claimed and nothing written."""
    bench.stand.cluster.writes.admission = [admission.replicas("two-of-none", _two_of_none)]
    controller = bench.chaos(SHORT_S)
    controller.wait(WITHIN_S)
    assert controller.told() == [("inject", "fail")]
    assert "into 2: its admission does so" in controller.events()[0]["error"]
    assert {wanted for _, wanted, _ in bench.moved} <= {1}, "it was written all the same"
    _closed(bench)
    return time.time()


def not_seen_before(bench: Bench, chance: Random) -> float:
    """The inject comes to 2 of 0: no fault, and the controller takes it back at once."""
    _changed(bench)
    controller = bench.chaos(LONG_S)
    at = time.time()
    controller.await_event("restore", "effective", WITHIN_S)
    assert ("inject", "effective") not in controller.told()
    controller.wait(WITHIN_S)
    _settled(bench, controller)
    return at


def _struck(moment: str, blow: str, bench: Bench, chance: Random) -> float:
    """The inject comes to 2 of 0, and the controller is struck at a moment of it."""
    _changed(bench)
    gate = Gate(MOMENTS[moment], delay_s=chance.uniform(0.0, 0.2))
    bench.stand.intercept = gate
    controller = bench.chaos(LONG_S)
    assert gate.reached.wait(WITHIN_S), f"never {moment}: {controller.said()}"
    controller.guardian()
    at = time.time()
    SIGNALS[blow](controller, chance)
    gate.open()
    assert gate.delivered.wait(WITHIN_S)
    _settled(bench, controller)
    return at


def _both_killed(bench: Bench, chance: Random) -> float:
    """All of ours are killed while the inject that comes to 2 of 0 is on its way: restore by the record alone."""
    _changed(bench)
    gate = Gate(MOMENTS["mid-restore"])
    bench.stand.intercept = gate
    controller = bench.chaos(SHORT_S, restore_within="2s")
    assert gate.reached.wait(WITHIN_S), controller.said()
    guardian = controller.guardian()
    at = time.time()
    os.kill(guardian, signal.SIGSTOP)
    os.killpg(controller.pid, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    controller.wait(WITHIN_S)
    assert bench.stand.replicas() == 2, "somebody has restored it though all of ours were killed"
    _restored(bench, chance)
    gate.open()  # what the controller had sent arrives when it changes nothing any more
    assert gate.delivered.wait(WITHIN_S)
    _closed(bench)
    return at


def _clamped(blow: str | None, bench: Bench, chance: Random) -> float:
    """The restore comes to 0 of 1 for a while; whoever restores goes on until it is 1."""
    asked = threading.Event()

    def nothing(wanted: int) -> int:
        if wanted:
            asked.set()
        return 0

    controller = bench.chaos(SHORT_S + 1 if blow is None else LONG_S)
    controller.await_event("inject", "effective", WITHIN_S)
    controller.guardian()
    bench.stand.cluster.writes.admission = [admission.replicas("nothing", nothing)]
    if blow is not None:
        SIGNALS[blow](controller, chance)
    assert asked.wait(WITHIN_S), "nobody restores"
    time.sleep(chance.uniform(0.2, 2.0))  # it is tried again meanwhile
    assert ("restore", "effective") not in controller.told(), "verified at 0 of 1"
    at = time.time()
    bench.stand.cluster.writes.admission = []
    _settled(bench, controller)
    return at


def _behind_two_services(bench: Bench) -> None:
    """As a headless and a client Service are, one of them of two families: each Pod stands in three slices."""
    bench.stand.serve_again("vllm-server-headless", ["IPv4", "IPv6"])


def two_services(bench: Bench, chance: Random) -> float:
    _behind_two_services(bench)
    controller = bench.chaos(SHORT_S + 2)
    controller.await_event("inject", "effective", WITHIN_S)
    seen = next(e for e in controller.events() if e["stage"] == "effective")["detail"]
    assert seen == {"pods": 0, "endpoints": 0}
    at = time.time()
    assert controller.wait(WITHIN_S) == 0, controller.said()
    _settled(bench, controller)
    return at


def _two_services_struck(blow: str, bench: Bench, chance: Random) -> float:
    _behind_two_services(bench)
    controller = bench.chaos(LONG_S)
    controller.await_event("inject", "effective", WITHIN_S)
    controller.guardian()
    time.sleep(chance.uniform(0.0, 0.5))
    at = time.time()
    SIGNALS[blow](controller, chance)
    _settled(bench, controller)
    return at


def cells() -> dict[str, Cell]:
    cells: dict[str, Cell] = {
        "admission changes the inject · a dry run shows it": seen_before,
        "admission changes the inject · no dry run shows it": not_seen_before,
        "admission changes the inject · both killed": _both_killed,
        "admission clamps the restore": partial(_clamped, None),
        "two Services": two_services,
    }
    for blow in BLOWS:
        for moment in ("after the record", "mid-inject", "mid-restore", "after"):
            cells[f"admission changes the inject · {blow} · {moment}"] = partial(_struck, moment, blow)
        cells[f"admission clamps the restore · {blow}"] = partial(_clamped, blow)
        cells[f"two Services · {blow} · {IN_EFFECT}"] = partial(_two_services_struck, blow)
    return cells

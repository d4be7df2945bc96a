"""Cells of a cluster whose admission changes our scales, and of a target behind two Services."""

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

SIGNAL_NAMES = ("TERM", "KILL", "KILL of the group")
WITHIN_S = 90.0  # many trials run at a time


def _two_of_none(replicas: int) -> int:
    """2 for 0: a number that is neither the original, 1, nor the one that is set, 0."""
    return replicas or 2


def _changed(bench: Bench) -> None:
    """Adds a webhook with side effects: no dry run shows what it does."""
    rule = admission.replicas("two-of-none", _two_of_none, side_effects=True)
    bench.stand.cluster.writes.admission = [rule]


def seen_before(bench: Bench, rng: Random) -> float:
    """A dry run shows it: nothing is claimed and nothing written."""
    bench.stand.cluster.writes.admission = [admission.replicas("two-of-none", _two_of_none)]
    controller = bench.chaos(SHORT_S)
    controller.wait(WITHIN_S)
    assert controller.stages() == [("inject", "fail")]
    assert "into 2: its admission does so" in controller.events()[0]["error"]
    assert {replicas for _, replicas, _ in bench.moved} <= {1}, "it was written all the same"
    _closed(bench)
    return time.time()


def not_seen_before(bench: Bench, rng: Random) -> float:
    """The inject results in 2 instead of 0: not a fault, and the controller restores at once."""
    _changed(bench)
    controller = bench.chaos(LONG_S)
    at = time.time()
    controller.await_event("restore", "effective", WITHIN_S)
    assert ("inject", "effective") not in controller.stages()
    controller.wait(WITHIN_S)
    _settled(bench, controller)
    return at


def _signalled(moment: str, signals: str, bench: Bench, rng: Random) -> float:
    """The inject results in 2 instead of 0, and the controller gets signals at a moment of it."""
    _changed(bench)
    gate = Gate(MOMENTS[moment], delay_s=rng.uniform(0.0, 0.2))
    bench.stand.intercept = gate
    controller = bench.chaos(LONG_S)
    assert gate.reached.wait(WITHIN_S), f"never {moment}: {controller.log()}"
    controller.guardian()
    at = time.time()
    SIGNALS[signals](controller, rng)
    gate.open()
    assert gate.delivered.wait(WITHIN_S)
    _settled(bench, controller)
    return at


def _both_killed(bench: Bench, rng: Random) -> float:
    """Controller and guardian are killed while the inject that results in 2 is on its way: restore by the record alone."""
    _changed(bench)
    gate = Gate(MOMENTS["mid-restore"])
    bench.stand.intercept = gate
    controller = bench.chaos(SHORT_S, restore_within="2s")
    assert gate.reached.wait(WITHIN_S), controller.log()
    guardian = controller.guardian()
    at = time.time()
    os.kill(guardian, signal.SIGSTOP)
    os.killpg(controller.pid, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    controller.wait(WITHIN_S)
    assert bench.stand.replicas() == 2, "restored though every process of ours was killed"
    _restored(bench, rng)
    gate.open()  # the controller's request arrives when it changes nothing any more
    assert gate.delivered.wait(WITHIN_S)
    _closed(bench)
    return at


def _clamped(signals: str | None, bench: Bench, rng: Random) -> float:
    """The restore results in 0 instead of 1 for a while; the restorer tries until it is 1."""
    requested = threading.Event()

    def nothing(replicas: int) -> int:
        if replicas:
            requested.set()
        return 0

    controller = bench.chaos(SHORT_S + 1 if signals is None else LONG_S)
    controller.await_event("inject", "effective", WITHIN_S)
    controller.guardian()
    bench.stand.cluster.writes.admission = [admission.replicas("nothing", nothing)]
    if signals is not None:
        SIGNALS[signals](controller, rng)
    assert requested.wait(WITHIN_S), "no process restores"
    time.sleep(rng.uniform(0.2, 2.0))  # it is tried again meanwhile
    assert ("restore", "effective") not in controller.stages(), "verified at 0 of 1"
    at = time.time()
    bench.stand.cluster.writes.admission = []
    _settled(bench, controller)
    return at


def _behind_two_services(bench: Bench) -> None:
    """Like a headless and a client Service, one of them with two IP families: each Pod is in three slices."""
    bench.stand.serve_again("vllm-server-headless", ["IPv4", "IPv6"])


def two_services(bench: Bench, rng: Random) -> float:
    _behind_two_services(bench)
    controller = bench.chaos(SHORT_S + 2)
    controller.await_event("inject", "effective", WITHIN_S)
    seen = next(e for e in controller.events() if e["stage"] == "effective")["detail"]
    assert seen == {"pods": 0, "endpoints": 0}
    at = time.time()
    assert controller.wait(WITHIN_S) == 0, controller.log()
    _settled(bench, controller)
    return at


def _two_services_signalled(signals: str, bench: Bench, rng: Random) -> float:
    _behind_two_services(bench)
    controller = bench.chaos(LONG_S)
    controller.await_event("inject", "effective", WITHIN_S)
    controller.guardian()
    time.sleep(rng.uniform(0.0, 0.5))
    at = time.time()
    SIGNALS[signals](controller, rng)
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
    for signals in SIGNAL_NAMES:
        for moment in ("after the record", "mid-inject", "mid-restore", "after"):
            cells[f"admission changes the inject · {signals} · {moment}"] = partial(
                _signalled, moment, signals
            )
        cells[f"admission clamps the restore · {signals}"] = partial(_clamped, signals)
        cells[f"two Services · {signals} · {IN_EFFECT}"] = partial(_two_services_signalled, signals)
    return cells

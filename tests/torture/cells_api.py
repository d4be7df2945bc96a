"""Cells in which the API server is away for a while or for ever, or answers a call with an error."""

import threading
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from tests.torture.bench import Bench, Controller
from tests.torture.cells import SHORT_S, Cell, _settled
from tests.torture.gate import MOMENTS, Gate, any_scale, api_error, gone, patch_of_scale


def api_gone_in_the_fault(bench: Bench, rng: Random) -> float:
    controller = bench.chaos(SHORT_S + 1)
    controller.await_event("inject", "effective")
    _gone(bench)
    return _api_back(bench, controller, rng)


def api_gone_in_the_restore(bench: Bench, rng: Random) -> float:
    gate = Gate(MOMENTS["mid-restore"])
    bench.stand.intercept = gate
    controller = bench.chaos(SHORT_S)
    assert gate.reached.wait(90)
    seen = _gone(bench)
    gate.open()
    assert seen.wait(30)
    return _api_back(bench, controller, rng)


def _api_back(bench: Bench, controller: Controller, rng: Random) -> float:
    """After a while the API answers again, and the run ends as if it had never been gone."""
    time.sleep(rng.uniform(0.5, 3.0))
    at = time.time()
    bench.stand.intercept = None
    assert controller.wait() == 0, controller.log()
    _settled(bench, controller)
    return at


def api_gone_to_the_end(bench: Bench, rng: Random) -> float:
    """Exit 4 with the command to run by hand, which then restores; or the guardian restores, which keeps trying."""
    controller = bench.chaos(SHORT_S, restore_within="2s")
    controller.await_event("inject", "effective")
    controller.guardian()
    _gone(bench)
    assert controller.wait() == 4, controller.log()
    log = controller.log()
    assert "NOT RESTORED; by hand: " in log
    by_hand = next(x for x in log.splitlines() if x.startswith("NOT RESTORED")).split("-m chaos ")[1]
    at = time.time()
    bench.stand.intercept = None
    assert bench.command(*by_hand.split()).wait(90) == 0, controller.log()
    _settled(bench, controller)
    return at


def _api_error(kind: str, move: str, bench: Bench, rng: Random) -> float:
    """The API answers the scale calls of a move with this error; nothing is lost, and the exit code is right."""
    fits: Callable[[str, str, dict[str, Any]], bool]
    if move == "inject":
        fits = patch_of_scale if kind in ("409", "dropped after", "hangs") else any_scale
        bench.stand.intercept = api_error(kind, fits, 1 + rng.randrange(2), bench.stand.touch)
        controller = bench.chaos(15.0 if kind == "hangs" else 4.0)
    else:
        controller = bench.chaos(SHORT_S + 1)
        controller.await_event("inject", "effective")
        fits = MOMENTS["mid-restore"] if kind in ("409", "dropped after", "hangs") else any_scale
        bench.stand.intercept = api_error(kind, fits, 1 + rng.randrange(2), bench.stand.touch)
    at = time.time()
    code = controller.wait(90)
    made = (
        "inject",
        "effective",
    ) in controller.stages()  # one that hung for too long was given up: no evidence
    assert code == (0 if made else 5), f"exit {code}: {controller.log()}"
    restores = [e for e in controller.events() if e["move"] == "restore"]
    assert [e["stage"] for e in restores][-1:] == ["effective"], restores
    _settled(bench, controller)
    return at


def _gone(bench: Bench) -> threading.Event:
    seen = threading.Event()
    bench.stand.intercept = gone(seen)
    return seen


def cells() -> dict[str, Cell]:
    """Every cell by its name."""
    found: dict[str, Cell] = {
        "api gone in the fault": api_gone_in_the_fault,
        "api gone in the restore": api_gone_in_the_restore,
        "api gone to the end": api_gone_to_the_end,
    }
    for kind in ("409", "429", "500", "502", "dropped after", "hangs"):
        for move in ("inject", "restore"):
            found[f"API {kind} · {move}"] = partial(_api_error, kind, move)
    return found

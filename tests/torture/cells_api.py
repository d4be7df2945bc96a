"""Cells in which the API server goes away for a while, for ever, or answers a call as it should not."""

import threading
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from tests.torture.bench import Bench, Controller
from tests.torture.cells import SHORT_S, Cell, _settled
from tests.torture.gate import MOMENTS, Gate, any_scale, gone, patch_of_scale, trouble


def api_gone_in_the_fault(bench: Bench, chance: Random) -> float:
    controller = bench.chaos(SHORT_S + 1)
    controller.await_event("inject", "effective")
    _gone(bench)
    return _api_back(bench, controller, chance)


def api_gone_in_the_restore(bench: Bench, chance: Random) -> float:
    gate = Gate(MOMENTS["mid-restore"])
    bench.stand.intercept = gate
    controller = bench.chaos(SHORT_S)
    assert gate.reached.wait(90)
    seen = _gone(bench)
    gate.open()
    assert seen.wait(30)
    return _api_back(bench, controller, chance)


def _api_back(bench: Bench, controller: Controller, chance: Random) -> float:
    """After a while the API answers again, and the run ends as if it had never been gone."""
    time.sleep(chance.uniform(0.5, 3.0))
    at = time.time()
    bench.stand.intercept = None
    assert controller.wait() == 0, controller.said()
    _settled(bench, controller)
    return at


def api_gone_to_the_end(bench: Bench, chance: Random) -> float:
    """Exit 4 with the command to run by hand, which then restores; or the guardian does, which has gone on trying."""
    controller = bench.chaos(SHORT_S, restore_within="2s")
    controller.await_event("inject", "effective")
    controller.guardian()
    _gone(bench)
    assert controller.wait() == 4, controller.said()
    said = controller.said()
    assert "NOT RESTORED; by hand: " in said
    by_hand = next(x for x in said.splitlines() if x.startswith("NOT RESTORED")).split("-m chaos ")[1]
    at = time.time()
    bench.stand.intercept = None
    assert bench.command(*by_hand.split()).wait(90) == 0, controller.said()
    _settled(bench, controller)
    return at


def _api_trouble(kind: str, move: str, bench: Bench, chance: Random) -> float:
    """The API answers the scale calls of a move so; nothing is lost, and the exit code tells the truth."""
    fits: Callable[[str, str, dict[str, Any]], bool]
    if move == "inject":
        fits = patch_of_scale if kind in ("409", "dropped after", "hangs") else any_scale
        bench.stand.intercept = trouble(kind, fits, 1 + chance.randrange(2), bench.stand.touch)
        controller = bench.chaos(15.0 if kind == "hangs" else 4.0)
    else:
        controller = bench.chaos(SHORT_S + 1)
        controller.await_event("inject", "effective")
        fits = MOMENTS["mid-restore"] if kind in ("409", "dropped after", "hangs") else any_scale
        bench.stand.intercept = trouble(kind, fits, 1 + chance.randrange(2), bench.stand.touch)
    at = time.time()
    code = controller.wait(90)
    made = (
        "inject",
        "effective",
    ) in controller.told()  # one that hung for too long was given up: no evidence
    assert code == (0 if made else 5), f"exit {code}: {controller.said()}"
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
            found[f"API {kind} · {move}"] = partial(_api_trouble, kind, move)
    return found

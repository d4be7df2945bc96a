"""Cells in which another client changes the target while it is taken away, and the change is left alone."""

import time
from random import Random

from tests.torture.bench import Bench, Controller
from tests.torture.cells import LONG_S, Cell


def scaled_to_2(bench: Bench, rng: Random) -> float:
    controller = bench.chaos(LONG_S)
    controller.await_event("inject", "commanded")
    time.sleep(rng.uniform(0.0, 0.5))
    at = time.time()
    bench.stand.scale(2)
    _left_alone(bench, controller, 2)
    return at


def up_and_down_again(bench: Bench, rng: Random) -> float:
    controller = bench.chaos(LONG_S)
    controller.await_event("inject", "commanded")
    time.sleep(rng.uniform(0.0, 0.5))
    at = time.time()
    bench.stand.scale(1)
    bench.stand.scale(0)
    _left_alone(bench, controller, 0)
    return at


def _left_alone(bench: Bench, controller: Controller, replicas: int) -> None:
    controller.await_event("restore", "fail")
    assert controller.events()[-1]["detail"] == {"foreign": True}
    assert controller.wait() == 5, "a restore that was not verified is not passed"
    assert bench.stand.replicas() == replicas, "the other client's change was overwritten"
    assert not bench.open_records()
    assert not bench.stand.leases()


def remade(bench: Bench, rng: Random) -> float:
    controller = bench.chaos(LONG_S)
    controller.await_event("inject", "commanded")
    time.sleep(rng.uniform(0.0, 0.5))
    at = time.time()
    bench.stand.remake()
    _left_alone(bench, controller, 1)
    bench.await_up()
    return at


def cells() -> dict[str, Cell]:
    """Every cell by its name."""
    return {"scaled to 2": scaled_to_2, "up and down again": up_and_down_again, "remade": remade}

"""A master's workers before their users start: which are missing, and the data for their shares of an open loop."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gevent

from contract.refusal import Refusal
from scenarios.run.inputs import Inputs

if TYPE_CHECKING:
    from scenarios.gateway.load_shape import LoadShape

BACK_WITHIN_S = 10.0
_LOOK_S = 0.05


def missing(expected: int, ready: int) -> str | None:
    """What the master waits for; None: all workers are connected. Locust only logs this, at a level that is off by default."""
    left = expected - ready
    return f"waiting for {left} of {expected} workers" if left > 0 else None


def await_return(count: Callable[[], int], expected: int, within_s: float = BACK_WITHIN_S) -> None:
    """Wait for workers to reconnect after a stop. Raises Refusal if there are none, since Locust would then do nothing."""
    with gevent.Timeout(within_s, False):
        while count() < expected:
            gevent.sleep(_LOOK_S)
    if not count():
        raise Refusal("no worker is connected; start one, then start the run again")


def for_open_loop(
    inputs: Inputs, shape: "LoadShape | None", options: Mapping[str, Any], locusts: Mapping[str, Any]
) -> dict[str, Any]:
    """The data that a worker needs to send its share of the arrivals. `locusts`: Locust's own options."""
    return {
        "scenarios": [user.scenario for user in inputs.opened],
        "shape": None if shape is None else type(shape).__name__,
        "options": {name: value for name, value in options.items() if name not in locusts},
    }

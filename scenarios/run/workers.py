"""A master's workers before their users come: which are missing, and what each needs for its share of an open loop."""

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
    """What the master waits for; None: all are here. Locust itself only logs it, at a level that is off by default."""
    left = expected - ready
    return f"waiting for {left} more workers of {expected}" if left > 0 else None


def await_return(count: Callable[[], int], expected: int, within_s: float = BACK_WITHIN_S) -> None:
    """A worker that was stopped leaves, and comes back. Raises Refusal: without any, Locust would do nothing."""
    with gevent.Timeout(within_s, False):
        while count() < expected:
            gevent.sleep(_LOOK_S)
    if not count():
        raise Refusal("no worker is here; start one, and start the run again")


def for_open_loop(
    inputs: Inputs, shape: "LoadShape | None", options: Mapping[str, Any], locusts: Mapping[str, Any]
) -> dict[str, Any]:
    """What a worker needs to make its share of the arrivals. `locusts`: the options that are Locust's own."""
    return {
        "scenarios": [user.scenario for user in inputs.opened],
        "shape": None if shape is None else type(shape).__name__,
        "options": {name: value for name, value in options.items() if name not in locusts},
    }

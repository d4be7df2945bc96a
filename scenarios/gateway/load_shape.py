"""Load shapes: a factor over time, applied to the users of a closed loop or to the rate of an open loop."""

import argparse
import math
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from locust import LoadTestShape

from contract import duration
from contract.refusal import Refusal
from scenarios.gateway.user_context import UserContext


class LoadShape(LoadTestShape):
    """One shape. It never ends a run: the timeline does.

    Without a web UI, Locust handles signals only after its shape has ended. So a run removes the shape from Locust
    (`environment.shape_class`) and calls `tick` itself once a second.
    """

    abstract = True
    use_common_options = True
    users = 1  # of a closed loop at factor 1

    @abstractmethod  # Locust's shapes are of ABCMeta
    def read(self, options: argparse.Namespace) -> None:
        """Read the shape's own options. Raises Refusal."""

    @abstractmethod
    def factor(self, at_s: float) -> float:
        """The factor at this time (seconds after the start); 0 or more."""

    def tick(self) -> tuple[int, float]:
        """(target number of users, users started or stopped per second)."""
        users = max(1, round(self.users * self.factor(self.get_run_time())))
        return users, max(1.0, float(users))


class Search(LoadShape):
    """A shape that searches for a rate: it sets its own arrivals, no fault is injected, and it ends the run."""

    abstract = True
    arrivals: ClassVar[str]  # the value of --arrivals; `factor` changes the rate
    scenarios: ClassVar[str]  # used if --scenarios is empty
    objective_ms: float | None = None  # TTFT; the timeline's, unless an option sets it

    def prepare(self, user_context: UserContext) -> None:
        """The stack is up and warm. Raises Refusal."""

    @abstractmethod
    def run(self, user_context: UserContext, folder: Path, guard: Callable[[], str | None]) -> None:
        """Run the search in its own greenlet. `guard`: returns why the search must stop now, or None."""

    @abstractmethod
    def conclusion(self) -> tuple[str, int]:
        """(result as text, exit code)."""


def seconds(options: argparse.Namespace, name: str) -> float:
    """The duration in this option, in seconds. Raises Refusal."""
    try:
        return duration.parse(getattr(options, name))
    except ValueError as e:
        raise Refusal(f"--{name.replace('_', '-')}: {e}") from None


def positive(options: argparse.Namespace, name: str) -> float:
    """The number in this option. Raises Refusal."""
    value = float(getattr(options, name))
    if not value > 0 or value == math.inf:
        raise Refusal(
            f"--{name.replace('_', '-')}: {value:g} is {'not above 0' if not value > 0 else 'not a finite number'}"
        )
    return value

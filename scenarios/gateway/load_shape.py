"""What a load shape is here: a factor over time, on the users of a closed loop or on the rate of an open one."""

import argparse
import math
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from locust import LoadTestShape

from contract import duration
from contract.refusal import Refusal
from scenarios.gateway.user_context import Stage


class LoadShape(LoadTestShape):
    """One shape. It never ends a run: the timeline does.

    Locust's own way of walking a shape without its web UI takes signals only when the shape is over; so a run takes
    it off Locust's hands (`environment.shape_class`) and asks it once a second.
    """

    abstract = True
    use_common_options = True
    users = 1  # of a closed loop, where the factor is 1

    @abstractmethod  # Locust's shapes are of ABCMeta
    def read(self, options: argparse.Namespace) -> None:
        """Its own options. Raises Refusal."""

    @abstractmethod
    def factor(self, at_s: float) -> float:
        """0 or more, so many seconds after the start."""

    def tick(self) -> tuple[int, float]:
        """How many users there are to be now, and how many may come or go in a second."""
        users = max(1, round(self.users * self.factor(self.get_run_time())))
        return users, max(1.0, float(users))


class Search(LoadShape):
    """A shape that finds something out: it makes arrivals of its own, no fault is made, and it ends the run."""

    abstract = True
    arrivals: ClassVar[str]  # as --arrivals gives them, for `factor` to change
    scenarios: ClassVar[str]  # where --scenarios names none
    objective_ms: float | None = None  # TTFT; the timeline's, unless `read` found another

    def prepare(self, stage: Stage) -> None:
        """The stack is up and warm. Raises Refusal."""

    @abstractmethod
    def walk(self, stage: Stage, folder: Path, guard: Callable[[], str | None]) -> None:
        """Do it all, in a greenlet of its own. `guard`: why it must stop now; None: it need not."""

    @abstractmethod
    def conclusion(self) -> tuple[str, int]:
        """What was found, in words, and the exit code."""


def seconds(options: argparse.Namespace, name: str) -> float:
    """The duration that this option gives. Raises Refusal."""
    try:
        return duration.parse(getattr(options, name))
    except ValueError as e:
        raise Refusal(f"--{name.replace('_', '-')}: {e}") from None


def positive(options: argparse.Namespace, name: str) -> float:
    """The number that this option gives. Raises Refusal."""
    value = float(getattr(options, name))
    if not value > 0 or value == math.inf:
        raise Refusal(
            f"--{name.replace('_', '-')}: {value:g} is {'not above 0' if not value > 0 else 'no finite number'}"
        )
    return value

"""What the life of a run needs of the load generator. `locust_events.py` has it of Locust."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from scenarios.gateway.user_context import Stage
from scenarios.run.inputs import Inputs


class Load(Protocol):
    def state(self) -> str:
        """One of Locust's states of a runner: see `page_state.py`."""

    def users(self) -> int:
        """How many there are now."""

    def target_users(self) -> int:
        """How many there are to be."""

    def workers(self) -> int: ...

    def ready_workers(self) -> int: ...

    def choose_users(self, inputs: Inputs) -> None:
        """Users of these classes are started from now on."""

    def let_in(self, stage: Stage) -> None:
        """Users of this process send requests from now on."""

    def scale(self, users: int, spawn_rate: float) -> None: ...

    def show_host(self, url: str | None) -> None: ...

    def show_opening(self) -> None:
        """A start takes its time; a stop meanwhile must take effect."""

    def withdraw_start(self, state: str) -> None:
        """No users come of this start; back to the state before it."""

    def stop(self) -> None:
        """Stop the users."""

    def quit(self) -> None: ...

    def quit_page(self) -> None:
        """The same, the web UI too."""

    def exit_with(self, code: int) -> None:
        """The exit code, when it quits."""

    def own_options(self) -> Mapping[str, Any]:
        """The options that are Locust's own, by name."""

    def write_statistics(self, folder: Path) -> None:
        """Its own statistics as CSV. Raises OSError."""

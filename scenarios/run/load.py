"""The interface between the lifecycle of a run and the load generator. `locust_events.py` implements it for Locust."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from scenarios.gateway.user_context import UserContext
from scenarios.run.inputs import Inputs


class Load(Protocol):
    def state(self) -> str:
        """A runner state of Locust: see `page_state.py`."""

    def users(self) -> int:
        """The current number of users."""

    def target_users(self) -> int:
        """The target number of users."""

    def workers(self) -> int: ...

    def ready_workers(self) -> int: ...

    def choose_users(self, inputs: Inputs) -> None:
        """Spawn users of these classes from now on."""

    def set_user_context(self, user_context: UserContext) -> None:
        """Give the users of this process their context; they may send requests from now on."""

    def scale(self, users: int, spawn_rate: float) -> None: ...

    def show_host(self, url: str | None) -> None: ...

    def show_opening(self) -> None:
        """A start is in progress; a stop must work meanwhile."""

    def withdraw_start(self, state: str) -> None:
        """The start failed: return to the state before it."""

    def stop(self) -> None:
        """Stop the users."""

    def quit(self) -> None: ...

    def quit_page(self) -> None:
        """Quit, and stop the web UI too."""

    def exit_with(self, code: int) -> None:
        """Set the exit code for when it quits."""

    def own_options(self) -> Mapping[str, Any]:
        """Locust's own options, by name."""

    def write_statistics(self, folder: Path) -> None:
        """Write its own statistics as CSV. Raises OSError."""

"""The exit codes of Locust's own errors, as this project's: Locust exits with 1 or -1, and 1 is a failed expectation."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

from contract.refusal import EXIT_BAD_INPUT, EXIT_INTERNAL_ERROR


class LocustSys:
    """Replaces `sys` in Locust's modules: refuses with 64 what Locust refuses, such as an unknown user class."""

    def __init__(self, unhandled: Callable[[], bool]) -> None:
        """`unhandled`: whether Locust has logged an exception that no code expects; its exit code is 70."""
        self._unhandled, self._quitting = unhandled, False

    def quitting(self, **_: Any) -> None:
        """Locust quits: from now on its exit code is the run's."""
        self._quitting = True

    def exit(self, status: Any = None) -> NoReturn:
        if status in (1, -1) and not self._quitting and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            status = EXIT_INTERNAL_ERROR if self._unhandled() else EXIT_BAD_INPUT
        sys.exit(status)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)

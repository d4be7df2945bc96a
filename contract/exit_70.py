"""Import it first in a program: from then on an error that no code expects ends the process with exit code 70.

The traceback is printed as before. Python's own exit code would be 1, which means that an expectation failed. It covers the
imports that follow as well. Ctrl-C keeps its exit code.
"""

import sys
from types import TracebackType

from contract.refusal import EXIT_INTERNAL_ERROR


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.__excepthook__(kind, error, trace)
    if isinstance(error, Exception):
        raise SystemExit(
            EXIT_INTERNAL_ERROR
        )  # the interpreter exits as after any other, with its atexit functions


sys.excepthook = _hook

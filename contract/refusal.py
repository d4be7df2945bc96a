"""Bad input, refused before anything is touched: where, what, and the correction. And the exit codes of every program."""

import signal
from collections.abc import Iterable

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_ABORTED = 3
EXIT_NOT_RESTORED = 4
EXIT_UNKNOWN = 5
EXIT_BAD_INPUT = 64
EXIT_INTERNAL_ERROR = (
    70  # EX_SOFTWARE of sysexits.h; Python's own code of a traceback, 1, is a failed expectation
)


class Refusal(Exception):
    """The operator's input cannot be used. The text is the whole message; the exit code is 64."""

    exit_code = EXIT_BAD_INPUT


class InternalError(Refusal):
    """A process of this project ended by an error of its own, so what depends on it is not begun. The exit code is 70."""

    exit_code = EXIT_INTERNAL_ERROR


def how_ended(process: str, exit_code: int) -> str:
    """A sentence about a child process that has ended; `exit_code`: below 0: a signal."""
    if exit_code == EXIT_INTERNAL_ERROR:
        return f"{process} ended by an error of its own (exit code {exit_code})"
    if exit_code < 0:
        name = (
            signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
        )
        return f"{process} was ended by {name}"
    return f"{process} ended with exit code {exit_code}"


def no_such(kind: str, name: object, known: Iterable[str]) -> str:
    """`no fault 'scale_to_zer'; did you mean 'scale_to_zero'?`, or the list of known names."""
    import difflib  # imported only here: it is slow to import, and an engine starts with every Pod

    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    if near:
        return f"no {kind} {str(name)!r}; did you mean {near[0]!r}?"
    return f"no {kind} {str(name)!r}; there is {', '.join(names) or 'none'}"

"""Bad input, refused before anything is touched: where, what, and the correction."""

from collections.abc import Iterable

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_ABORTED = 3
EXIT_NOT_RESTORED = 4
EXIT_UNKNOWN = 5
EXIT_BAD_INPUT = 64


class Refusal(Exception):
    """The operator's input cannot be used. The text is the whole message; the exit code is 64."""


def no_such(kind: str, name: object, known: Iterable[str]) -> str:
    """`no fault 'scale_to_zer'; did you mean 'scale_to_zero'?`, or the list of known names."""
    import difflib  # imported only here: it is slow to import, and an engine starts with every Pod

    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    if near:
        return f"no {kind} {str(name)!r}; did you mean {near[0]!r}?"
    return f"no {kind} {str(name)!r}; there is {', '.join(names) or 'none'}"

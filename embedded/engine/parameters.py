"""The parameters of a fault: declared as fields with a default and a rule, read from JSON. An error states the correct
form. No I/O.
"""

from collections.abc import Callable, Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

A_WEEK_S = 604800.0
"""The longest time that a fault can be set, or a request held."""

T = TypeVar("T")
Rule = Callable[[Any], str | None]
"""Returns the correct form if the value is invalid, else None."""


class BadParameter(Exception):
    """Its text is the complete error message."""


def number(value: Any) -> bool:
    """NaN is a number too, but within no bounds."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def tokens(default: int) -> Any:
    """A count of tokens."""
    return _declared(
        default,
        lambda value: (
            None
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0
            else "a whole number of at least 0"
        ),
    )


def seconds(default: float, above_zero: bool = False) -> Any:
    """A duration in seconds."""
    least = "more than 0" if above_zero else "at least 0"
    right = f"a number of seconds, {least} and at most {A_WEEK_S:.0f}"

    def rule(value: Any) -> str | None:
        fits = number(value) and 0 <= value <= A_WEEK_S and not (above_zero and value == 0)
        return None if fits else right

    return _declared(default, rule)


def seconds_or_none() -> Any:
    """A duration in seconds, or None."""

    def rule(value: Any) -> str | None:
        fits = value is None or (number(value) and 0 <= value <= A_WEEK_S)
        return None if fits else f"null, or a number of seconds, at least 0 and at most {A_WEEK_S:.0f}"

    return _declared(None, rule)


def one_of(*words: str) -> Any:
    """One of these words; the first is the default."""
    return _declared(words[0], lambda value: None if value in words else f"one of {', '.join(words)}")


def share() -> Any:
    """A share of all requests."""
    return _declared(
        1.0, lambda value: None if number(value) and 0 < value <= 1 else "a number above 0 and at most 1"
    )


def read(kind: type[T], given: Mapping[str, Any]) -> T:
    """The fault with these parameters. Raises BadParameter."""
    rules = {one.name: one.metadata["rule"] for one in fields(kind) if one.init}  # type: ignore[arg-type]
    for name, value in given.items():
        if name not in rules:
            raise BadParameter(no_such("parameter", name, rules))
        right = rules[name](value)
        if right is not None:
            raise BadParameter(f"{name} must be {right}; it is {value!r}")
    return kind(**given)


def shown(fault: Any) -> dict[str, Any]:
    """All its parameters, given or not, and its visible state."""
    return {one.name: getattr(fault, one.name) for one in fields(fault) if one.repr}


def no_such(kind: str, name: object, known: Mapping[str, Any]) -> str:
    from contract.refusal import no_such  # only here: difflib is slow to import

    return no_such(kind, name, known)


def _declared(default: Any, rule: Rule) -> Any:
    assert rule(default) is None, f"the default {default!r} breaks its own rule"
    return field(default=default, metadata={"rule": rule})

"""Exceptions raised while a run is judged and reported. The failed part is left out with a note; the report has its traceback."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from contract import printable

NAME = "errors.txt"
LONGEST = 100_000  # characters of one traceback
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class One:
    """A part that raised an exception."""

    part: str  # `expectation failover`, `figure timeline`, `summary.csv`
    error: str  # `KeyError: 'tier'`
    text: str  # the whole traceback


@dataclass(frozen=True, slots=True)
class Thrown:
    """All of them, in order of time."""

    found: list[One] = field(default_factory=list)

    def add(self, part: str, error: Exception) -> str:
        """Store the error; returns it as one line."""
        line = printable.clean(f"{type(error).__name__}: {error}")
        text = "".join(traceback.format_exception(error))
        self.found.append(One(part, line, printable.lines(text[:LONGEST])))
        return line

    def guarded(self, part: str, make: Callable[[], T], instead: Callable[[str], T]) -> T:
        """The result of `make`; if it raises, the result of `instead` for the error's line."""
        try:
            return make()
        except Exception as e:
            return instead(self.add(part, e))

    def parts(self) -> list[str]:
        """`figure timeline (KeyError: 'tier')`, each once."""
        return list(dict.fromkeys(f"{one.part} ({one.error})" for one in self.found))

    def text(self) -> str:
        """The content of errors.txt."""
        return "\n".join(f"{one.part}\n{one.text}" for one in self.found)

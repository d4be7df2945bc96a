"""What threw while a run was judged and reported on: its part is left out and says so, and its traceback is kept in the run's report."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

NAME = "errors.txt"
LONGEST = 100_000  # characters of one traceback
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class One:
    """One part that threw."""

    part: str  # `expectation failover`, `figure timeline`, `summary.csv`
    error: str  # `KeyError: 'tier'`
    text: str  # the whole traceback


@dataclass(frozen=True, slots=True)
class Thrown:
    """All of them, in the order in which they threw."""

    found: list[One] = field(default_factory=list)

    def add(self, part: str, error: Exception) -> str:
        """Keep it; what it was, in one line."""
        said = " ".join(f"{type(error).__name__}: {error}".split())
        text = "".join(traceback.format_exception(error))
        self.found.append(One(part, said, text[:LONGEST]))
        return said

    def guarded(self, part: str, make: Callable[[], T], instead: Callable[[str], T]) -> T:
        """What `make` makes; where it throws, what `instead` makes of the error's line."""
        try:
            return make()
        except Exception as e:
            return instead(self.add(part, e))

    def parts(self) -> list[str]:
        """`figure timeline (KeyError: 'tier')`, once each."""
        return list(dict.fromkeys(f"{one.part} ({one.error})" for one in self.found))

    def text(self) -> str:
        """The content of errors.txt."""
        return "\n".join(f"{one.part}\n{one.text}" for one in self.found)

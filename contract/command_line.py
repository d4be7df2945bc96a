"""A strict command line: an error in it is bad input, exit code 64 and not argparse's 2."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from contract.refusal import EXIT_BAD_INPUT, no_such

_USAGE_ERROR = 2  # argparse's own exit status


class Parser(argparse.ArgumentParser):
    """Options are written in full; for an unknown one the error suggests the nearest. Exits with 64."""

    def __init__(self, *given: Any, **named: Any) -> None:
        named.setdefault("allow_abbrev", False)
        super().__init__(*given, **named)
        self._renamed: dict[str, str] = {}

    def renamed(self, old: str, new: str) -> None:
        """Register a renamed option: the old name is refused, and the error gives the new one."""
        self._renamed[old] = new

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The options as attributes of a namespace."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            one = unknown[0].partition("=")[0]
            for parser in _parsers(self):
                if one in parser._renamed:
                    self.error(f"option {one} is {parser._renamed[one]} now")
            option = one.startswith("-")
            self.error(no_such("option", one, _options(self)) if option else f"unexpected argument {one!r}")
        return found

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message} (--help lists the options)\n")


def refuse_with_64(parser: argparse.ArgumentParser) -> None:
    """Give the parser of another library the same exit code."""
    leave = parser.exit

    def strictly(status: int = 0, message: str | None = None) -> NoReturn:
        leave(EXIT_BAD_INPUT if status == _USAGE_ERROR else status, message)

    parser.exit = strictly  # type: ignore[method-assign]


def count_from(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number of at least so many."""

    def count(text: str) -> int:
        try:
            found = int(text) if text.isascii() and text.isdecimal() else None
        except ValueError:  # more digits than Python reads
            found = None
        if found is None or found < least:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least {least}")
        return found

    return count


def _parsers(parser: Parser) -> Iterator[Parser]:
    """The parser and the parsers of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from (one for one in action.choices.values() if isinstance(one, Parser))


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """The options of the parser and of its commands."""
    found = {flag for action in parser._actions for flag in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {flag for one in action.choices.values() for flag in _options(one)}
    return found

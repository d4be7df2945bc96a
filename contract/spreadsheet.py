"""Text cells of CSV files, which a spreadsheet must not run as formulas.

A text that begins as a formula does gets an apostrophe before it, as OWASP's page on CSV injection says; so does one that begins
with an apostrophe, so that `read` is exact. Numbers stay as they are, negative ones too.
"""

import re
from collections.abc import Iterable
from typing import Any, Protocol

from contract import printable

BEGINS = r"^[=+\-@\t\r\n\x00＝＋－＠']"
"""A text to be marked, for `re` and RE2."""
NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
"""A text that a spreadsheet reads as a number."""
MARK = "'"
_BEGINS, _NUMBER = re.compile(BEGINS), re.compile(NUMBER)


def cell(value: Any) -> Any:
    """The value as a cell; only a text is changed."""
    if isinstance(value, str) and _BEGINS.match(value) and not _NUMBER.fullmatch(value):
        return MARK + value
    return value


def line_cell(value: Any) -> Any:
    """The same, and the text as one line: Python's csv module does not quote a carriage return, which begins a row for others."""
    made = cell(value)
    return printable.line(made) if isinstance(made, str) else made


def read(text: str) -> str:
    """The text of a cell as it was before."""
    return text.removeprefix(MARK)


class Rows(Protocol):
    """A writer of the csv module."""

    def writerow(self, row: Iterable[Any], /) -> Any: ...


class Cells:
    """A writer of the csv module whose cells are made by `line_cell`."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def writerow(self, row: Iterable[Any]) -> None:
        self._rows.writerow(map(line_cell, row))

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        for row in rows:
            self.writerow(row)

"""A table of the page: its columns, where they are defined, and its cells. Independent of metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.reporting.formatting import UNKNOWN


@dataclass(frozen=True, slots=True)
class Column:
    """`about`: the id of the definition that the column's head links to."""

    name: str
    about: str | None = None
    number: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """`tier`: the text is a tier's name and gets its mark. `span`: seconds since start that the timeline shows on a click."""

    text: str
    tier: str | None = None
    more: Sequence[str] = ()  # folded away
    href: str | None = None
    span: tuple[float, float] | None = None
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`caption`: what the rows are and what they are computed from. `empty`: the text of a table without rows."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    empty: str = "None."
    folded: bool = False
    notes: Sequence[str] = field(default=())


def cell(value: object, form: str = "{}") -> Cell:
    """A number or a word; a dash if it is unknown."""
    missing = value is None or value != value  # NaN
    return Cell(UNKNOWN if missing else form.format(value))

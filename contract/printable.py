"""Makes foreign text safe for a terminal, a log and a text file: no control characters, no invented lines, no endless lines.

Foreign is what a server, a cluster, a file's name or another's run folder says. Removed are C0 and C1 controls, DEL, the controls
of writing direction, and all else that cannot be printed; an escape sequence without its escape character has no effect.
"""

import unicodedata
from itertools import accumulate

from contract.foreign import without

LONGEST = 2000  # characters that are read
LONGEST_LINE = 4000  # characters of a line that holds foreign text


def line(text: object) -> str:
    """One line: a space for each white space, so that no line is invented; the rest as it is."""
    words = str(text)
    kept = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in words[:LONGEST_LINE])
    return kept + "…" if len(words) > LONGEST_LINE else kept


def lines(text: object) -> str:
    """A text of our own of several lines, in which foreign words may be: each line as `line` makes it."""
    return "\n".join(map(line, str(text).split("\n")))


def clean(text: str) -> str:
    """One line without our secrets: a space for each run of white space; characters that cannot be printed are removed."""
    known = without((), text[: 2 * LONGEST])[:LONGEST]
    kept = [c if c.isprintable() else " " if c.isspace() else "" for c in known]
    return " ".join("".join(kept).split())


def cells(text: str) -> int:
    """The width in terminal columns."""
    return sum(map(_cells, text))


def shortened(text: str, room: int) -> str:
    """The beginning of the text, in at most `room` columns."""
    if cells(text) <= room:
        return text
    return _within(text, room - 1).rstrip() + "…" if room > 0 else ""


def narrowed(name: str, room: int) -> str:
    """A name in at most `room` columns, without its middle: names of models differ at their ends."""
    if cells(name) <= room:
        return name
    back = (room - 1) // 2
    return _within(name, room - 1 - back) + "…" + _within(name[::-1], back)[::-1]


def _within(text: str, room: int) -> str:
    return text[: sum(1 for taken in accumulate(map(_cells, text)) if taken <= room)]


def _cells(c: str) -> int:
    if unicodedata.category(c) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1

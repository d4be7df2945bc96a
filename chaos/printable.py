"""Words that a server sent, as a terminal may see them: no control characters, and no longer than there is room."""

import unicodedata
from itertools import accumulate

LONGEST = 2000  # characters that are looked at


def clean(words: str) -> str:
    """One line: space for every kind of white space, nothing for what is not printed (escape sequences lose their
    escape, and with it their meaning)."""
    kept = [c if c.isprintable() else " " if c.isspace() else "" for c in words[:LONGEST]]
    return " ".join("".join(kept).split())


def cells(words: str) -> int:
    """How many columns of a terminal they take."""
    return sum(map(_cells, words))


def shortened(words: str, room: int) -> str:
    """The beginning, in at most so many columns."""
    if cells(words) <= room:
        return words
    return _within(words, room - 1).rstrip() + "…" if room > 0 else ""


def narrowed(name: str, room: int) -> str:
    """A name in at most so many columns, without its middle: models differ at their ends."""
    if cells(name) <= room:
        return name
    back = (room - 1) // 2
    return _within(name, room - 1 - back) + "…" + _within(name[::-1], back)[::-1]


def _within(words: str, room: int) -> str:
    return words[: sum(1 for taken in accumulate(map(_cells, words)) if taken <= room)]


def _cells(c: str) -> int:
    if unicodedata.category(c) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1

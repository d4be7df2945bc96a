"""How an answer is expected to end, by which it is verified to be whole. Part of a request. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass

# An object begins with a brace before its first key, its end, or the place where it was cut.
_BEGINNING = re.compile(r'\{(?=\s*(?:["}]|\Z))')
LONGEST = 2**18  # characters of a content that is searched: many times a document with its answer
_PART = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}]', re.DOTALL)  # a string, maybe cut, or a brace


@dataclass(frozen=True, slots=True)
class ProperEnd:
    """One of the two, or neither: then the answer is not verified."""

    at_cap: bool = False  # the requested answer is longer than its cap
    shows: Callable[[str], bool | None] | None = None  # whether this content is whole; None: unknown
    expected: str = ""  # what `shows` looks for, in words; never content


def object_closes(content: str) -> bool | None:
    """Whether the JSON object in this content has its end; None: no object begins in it, or it is longer than LONGEST.

    Text and fences are allowed before, between and after objects. The last object counts, because a cut would be in it.
    Only strings and braces are checked: an object that closes is whole, even if it is not valid JSON.
    """
    if len(content) > LONGEST:
        return None
    closes, at = None, 0
    while (begins := _BEGINNING.search(content, at)) is not None:
        end = _end(content, begins.start())
        if end is None:
            return False
        closes, at = True, end
    return closes


def _end(content: str, at: int) -> int | None:
    """The index after the brace that closes the one at `at`; None: it is not closed."""
    depth = 0
    for part in _PART.finditer(content, at):
        depth += {"{": 1, "}": -1}.get(part.group(), 0)
        if depth == 0:
            return part.end()
    return None


AT_CAP = ProperEnd(at_cap=True)
UNKNOWN = ProperEnd()
JSON_OBJECT = ProperEnd(shows=object_closes, expected="a JSON object that closes")

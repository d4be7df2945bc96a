"""What is known beforehand of how an answer ends: by that it is verified to be whole. A request brings it along. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass

# An object begins with a brace before its first key, its end, or the place where it was cut.
_BEGINNING = re.compile(r'\{(?=\s*(?:["}]|\Z))')
_PART = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}]', re.DOTALL)  # a string, maybe cut, or a brace


@dataclass(frozen=True, slots=True)
class ProperEnd:
    """One of the two, or neither: then nothing verifies the answer."""

    at_cap: bool = False  # the request calls for more than its cap allows
    shows: Callable[[str], bool | None] | None = None  # whether this content is whole; None: it does not show
    wanted: str = ""  # in words what `shows` looks for; never a content


def object_closes(content: str) -> bool | None:
    """Whether the JSON object in this content has its end; None: none begins in it, so that nothing can be told.

    Text may stand before, between and after objects, fences too; of several the last one counts, which is where a cut
    would be. Only strings and braces are looked at: an object that closes is whole, even if no JSON reader takes it.
    """
    closes, at = None, 0
    while (begins := _BEGINNING.search(content, at)) is not None:
        end = _end(content, begins.start())
        if end is None:
            return False
        closes, at = True, end
    return closes


def _end(content: str, at: int) -> int | None:
    """Behind the brace that closes the one at `at`; None: there is none."""
    depth = 0
    for part in _PART.finditer(content, at):
        depth += {"{": 1, "}": -1}.get(part.group(), 0)
        if depth == 0:
            return part.end()
    return None


AT_CAP = ProperEnd(at_cap=True)
UNKNOWN = ProperEnd()
JSON_OBJECT = ProperEnd(shows=object_closes, wanted="a JSON object that closes")

"""Reads the JSON of an undo record strictly: bounded in size and depth, no key twice, only numbers that every reader has. Pure.

Others may have written it: any account that may create Leases, or a program that has damaged a file.
"""

import json
import math
from typing import Any

MOST = 128 * 1024
"""Characters of a record. The API server stores at most 256 KiB of annotations with an object."""
DEEPEST = 32
"""Levels of mappings and lists inside each other; the deepest record that a driver writes has 7."""
_MOST_INTEGER = 2**63 - 1


def loads(text: str) -> Any:
    """The value of the text. Raises ValueError."""
    if len(text) > MOST:
        raise ValueError(f"{len(text)} characters; a record has at most {MOST}")
    try:
        found = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_not_finite,
            parse_float=_finite,
            parse_int=_integer,
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None
    _bounded(found)
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _not_finite(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text[:20])


def _integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > _MOST_INTEGER:
        raise ValueError(f"{text[:20]}… is not an integer of 64 bits")
    return int(text)


def _bounded(found: Any) -> None:
    level = [found]
    for _ in range(DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {DEEPEST} levels")

"""What is known beforehand of how an answer ends: by that it is verified to be whole. An ask brings it along."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_FENCES = re.compile(r"\A\s*```(?:json)?\s*|\s*```\s*\Z")


@dataclass(frozen=True, slots=True)
class ProperEnd:
    """One of the two, or neither: then nothing verifies the answer."""

    at_cap: bool = False  # the ask calls for more than its cap allows
    shows: Callable[[str], bool] | None = None  # whether this content shows that it is whole; pure
    wanted: str = ""  # in words what `shows` looks for; never a content


AT_CAP = ProperEnd(at_cap=True)
UNKNOWN = ProperEnd()


def json_object(keys: Iterable[str]) -> ProperEnd:
    """A JSON object with these keys, fenced or not: one that was cut anywhere parses no more."""
    wanted = frozenset(keys)

    def shows(text: str) -> bool:
        try:
            found = json.loads(_FENCES.sub("", text))
        except (ValueError, RecursionError):
            return False
        return isinstance(found, dict) and wanted <= found.keys()

    return ProperEnd(shows=shows, wanted=f"a JSON object with {', '.join(sorted(wanted))}")

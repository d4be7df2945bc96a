"""Which version of the gateway answered: LiteLLM names it in a header of each answer, and no longer on `/health/readiness`. Pure."""

import re
from collections.abc import Iterable, Mapping, MutableMapping

from contract.records import GATEWAY

HEADER = "x-litellm-version"
MOST = 8
"""So many versions are kept by name; answers of any further one are counted together as OTHERS."""
OTHERS = "others"

_VERSION = re.compile(r"v?[0-9][0-9A-Za-z.+_-]{0,47}")


def named(via: str, status: int | None, headers: Mapping[str, str]) -> str | None:
    """The version that an answer (status 200, through the gateway) names; None where it names none.

    A header is foreign text: what does not read as a version (a digit first, at most 48 letters, digits and `.+_-`) names none.
    """
    if via != GATEWAY or status != 200:
        return None
    text = headers.get(HEADER, "").strip()
    return text if _VERSION.fullmatch(text) else None


def count(counts: MutableMapping[str, int], version: str, answers: int = 1) -> None:
    """Add answers of this version, the earliest seen first."""
    name = version if version in counts or len(counts) < MOST else OTHERS
    counts[name] = counts.get(name, 0) + answers


def names(versions: Iterable[str]) -> str | None:
    """`litellm 1.108.7`, or `litellm 1.106.2, 1.108.7`; None where no answer named one."""
    return f"litellm {', '.join(versions)}" if (versions := list(versions)) else None


def text(counts: Mapping[str, int]) -> str | None:
    """The same, and of several versions how many answers named each: `litellm 1.106.2 (12 answers), 1.108.7 (439 answers)`."""
    if len(counts) < 2:
        return names(counts)
    return names(f"{version} ({n} answer{'' if n == 1 else 's'})" for version, n in counts.items())

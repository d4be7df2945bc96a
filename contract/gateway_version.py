"""Which version of the gateway answered, from a header of each answer. Pure."""

import re
from collections.abc import Iterable, Mapping, MutableMapping

from contract.foreign import without
from contract.gateway_kind import GatewayKind
from contract.records import GATEWAY

MOST = 8
"""Versions kept by name; answers of further versions are counted together as OTHERS."""
OTHERS = "others"

_VERSION = re.compile(r"v?[0-9][0-9A-Za-z.+_-]{0,47}")


def named(kind: GatewayKind, via: str, status: int | None, headers: Mapping[str, str]) -> str | None:
    """The version in an answer (status 200, through the gateway); None: it has none.

    A header is foreign text: it must read as a version (a digit first, at most 48 letters, digits and `.+_-`).
    """
    if via != GATEWAY or status != 200 or kind.version is None:
        return None
    text = headers.get(kind.version, "").strip()
    return text if _VERSION.fullmatch(text) and without((), text) == text else None


def count(counts: MutableMapping[str, int], version: str, answers: int = 1) -> None:
    """Add answers of this version; the order is that of first appearance."""
    name = version if version in counts or len(counts) < MOST else OTHERS
    counts[name] = counts.get(name, 0) + answers


def names(program: str, versions: Iterable[str]) -> str | None:
    """`litellm 1.108.7`, or `litellm 1.106.2, 1.108.7`; None: no answer had one."""
    return f"{program} {', '.join(versions)}" if (versions := list(versions)) else None


def text(program: str, counts: Mapping[str, int]) -> str | None:
    """The same; for several versions with the answers of each: `litellm 1.106.2 (12 answers), 1.108.7 (439 answers)`."""
    if len(counts) < 2:
        return names(program, counts)
    return names(program, (f"{version} ({n} answer{'' if n == 1 else 's'})" for version, n in counts.items()))

"""The catalogue of gateways: one file per value of `gateway: {kind: …}`, found by file name.

A file defines `GATEWAY`, a `GatewayKind`. To add a gateway, add a file; `litellm.py` is the example.
"""

import functools
import importlib
import pkgutil
from collections.abc import Iterator

from contract.gateway_kind import GatewayKind

DEFAULT = "litellm"


def names() -> list[str]:
    """The values that a topology may give."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


@functools.cache
def find(name: str) -> GatewayKind:
    """The name must be one of `names`."""
    found: GatewayKind = importlib.import_module(f"{__name__}.{name}").GATEWAY
    return found


def every() -> Iterator[GatewayKind]:
    """All kinds, to recognise error texts: an error is read without its topology, and each text belongs to one gateway."""
    return map(find, names())


def cooling(status: int | None, words: str) -> bool:
    """Whether a 429 means that all deployments are in cooldown after failures: an outage, not a rate limit."""
    return status == 429 and any(kind.cooling and kind.cooling.search(words) for kind in every())


def wrong_key(words: str) -> str | None:
    """What a refusal means if it is a gateway's text for a wrong key; None: it is not."""
    known = (kind.wrong_key for kind in every() if kind.wrong_key)
    return next((meaning for phrase, meaning in known if phrase in words), None)

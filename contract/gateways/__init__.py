"""The catalogue of gateways: one file per word of `gateway: {kind: …}`, found by file name.

A file holds `GATEWAY`, a `GatewayKind`. To add a gateway is to add a file; `litellm.py` is the example.
"""

import functools
import importlib
import pkgutil
from collections.abc import Iterator

from contract.gateway_kind import GatewayKind

DEFAULT = "litellm"


def names() -> list[str]:
    """The words that a topology may name."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


@functools.cache
def find(name: str) -> GatewayKind:
    """The name must be one of `names`."""
    found: GatewayKind = importlib.import_module(f"{__name__}.{name}").GATEWAY
    return found


def every() -> Iterator[GatewayKind]:
    """For words of errors: an error is read without its topology, and these words are one gateway's each."""
    return map(find, names())


def wrong_key(words: str) -> str | None:
    """What a refusal means, where it is a gateway's word for a wrong key; None: it is not."""
    known = (kind.wrong_key for kind in every() if kind.wrong_key)
    return next((meaning for said, meaning in known if said in words), None)

"""A node of the cluster, by its name."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from contract.handle_kind import HandleKind

LOCKS: Final = "kube-node-lease"
"""Namespace of the locks of nodes. Every cluster has it, and no topology uses it."""


def _object(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", text):
        raise ValueError(f"{text!r} is not a valid object name; use lower-case letters, digits, - and .")
    return text


HANDLE = HandleKind(given=Annotated[str, AfterValidator(_object)], lock_in=lambda name: LOCKS)

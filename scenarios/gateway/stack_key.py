"""The embedded stack's key: drawn by the process that starts the stack, inherited by workers that are forked from it."""

import os
import secrets

from contract.topology import Topology

STACK_KEY = "BROWNOUT_STACK_KEY"
"""The environment variable that holds it where workers are forked from the master."""


def draw() -> None:
    """Before a fork: a key that master and workers both have must be in the environment by then."""
    os.environ.setdefault(STACK_KEY, _new())


def give(topology: Topology) -> None:
    """The starter of the stack: sets the variable that the topology names for the key, where it is not set."""
    if (name := topology.gateway.api_key) is not None:
        os.environ.setdefault(name, os.environ.get(STACK_KEY) or _new())


def take(topology: Topology) -> None:
    """A worker: the same, where it was forked from the starter of the stack."""
    if STACK_KEY in os.environ:
        give(topology)


def _new() -> str:
    return "sk-" + secrets.token_hex(16)

"""Targets for faults in tests without a topology."""

from typing import Any

from chaos.target import Handle, Target, handle_of
from contract.blast_radius import Handles
from contract.handle_kind import Place


def given(kind: str, value: Any) -> Handle:
    """The handle of a tier whose topology has this value."""
    found = handle_of(Handles.model_validate({kind: value}), Place("vllm", None), (kind,))
    assert found is not None
    return found


def on(handle: Handle) -> Target:
    """A tier by this handle, without any other data on its server."""
    return Target.recorded("vllm", handle, {})

"""A member that a test puts into a catalogue: the timeline that names it, its step, the record of it."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos import plan
from chaos.undo.journal import Undo
from contract import timeline, topology
from tests.chaos.records import UNDO

TIMELINE = """
hypothesis: it goes on where it stood
baseline: 0s
settle: 100ms
max: 2m
steps: [{name: paused, at: 500ms, for: 1s, fault: pause, target: vllm}]
"""


def bound(stack: Path, tmp_path: Path, text: str) -> plan.Bound:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    (found,) = plan.bind(timeline.read(path), topology.read(stack), "t.yaml")
    return found


def record_of(step: plan.Bound, state: dict[str, Any]) -> Undo:
    handle, server = step.handle, step.on.record()
    return replace(
        UNDO, fault=step.step.fault, target=step.target, kind=handle.kind, handle=handle.name, given=handle.given,
        cluster=None, deadline=time.time() + 600, state=state, server=server,
    )  # fmt: skip

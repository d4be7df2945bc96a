"""The context and the outcome of one round of a timeline."""

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.plan import Bound
from chaos.preflight import Ground
from chaos.stop import Stop, Wait
from chaos.undo.guardian_link import GuardianLink
from chaos.undo.journal import Journal, Undo
from chaos.undo.restorer import Question
from contract.clock import Clock
from contract.records import Event
from contract.topology import Topology


@dataclass(slots=True)
class RoundOutcome:
    """The outcome of a round."""

    last_restored_at: float | None = None
    not_restored: list[str] = field(default_factory=list)  # handles


@dataclass(frozen=True, slots=True)
class StepContext:
    """The dependencies of a step."""

    run: str
    folder: Path
    clock: Clock
    stop: Stop
    ground: Ground
    journal: Journal
    on_event: Callable[[Event], None]
    guardian_link: GuardianLink
    # Sends a request to the tier, with so many seconds of patience. Returns None after a whole answer, or where no request
    # can be sent from here; otherwise why the answer is not whole.
    answers: Callable[[Bound, float], str | None]
    # Verifies a restore that may take so many seconds more.
    question: Callable[[Bound, float], Question]
    restore_within_s: float
    stack: Topology | None = None  # to verify what a dead holder left open
    wait: Wait = threading.Event.wait
    sleep: Callable[[float], object] = time.sleep

    def record(self, bound: Bound, trial: int, deadline: float, state: dict[str, Any], by_http: bool) -> Undo:
        """The undo record of a step's fault; `by_http`: with how the target's server is reached."""
        ground, handle = self.ground, bound.handle
        undo = Undo(
            run=self.run, folder=str(self.folder.resolve()), step=bound.step.name, trial=trial,
            fault=bound.step.fault, options=bound.step.with_, target=bound.target,
            kind=handle.kind, handle=handle.name, given=handle.given,
            cluster=ground.uid if handle.on_cluster or ground.embedded else None,
            kubeconfig=ground.cluster.kubeconfig if ground.cluster else None,
            context=ground.cluster.context if ground.cluster else None, embedded_pid=ground.embedded_pid,
            holder=f"{socket.gethostname()}:{os.getpid()}", deadline=deadline, state=state,
            server=bound.on.record() if by_http else {},
        )  # fmt: skip
        # As a reader of the JSON gets it: a holder recognizes its record by equality.
        return Undo.of_json(undo.to_json())

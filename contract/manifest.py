"""The manifest of a run, as it is checked when it is read."""

from dataclasses import dataclass, field
from typing import Any, Literal

from contract.records import Worker


@dataclass(slots=True)
class Manifest:
    """The content of manifest.json, documented in results/README.md. Instants are unix seconds; None: not known yet."""

    format: int
    run: str
    status: Literal["running", "finished", "aborted"]
    started_at: float
    gateway_kind: str
    unattended: list[str]
    git_commit: str | None = None
    versions: dict[str, str | None] = field(default_factory=dict)
    gateway_versions: dict[str, int] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    hosts: list[str] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    closed_at: float | None = None
    reason: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    verdict_exit_code: int | None = None

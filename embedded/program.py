"""The command line of a tier's Pod: a simulated or a real engine. Every parameter is checked before any process starts."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from contract import duration
from contract.handle_kind import EMBEDDED
from contract.refusal import Refusal, no_such
from contract.topology import Tier
from embedded.engine import options, personalities
from embedded.llamacpp import options as llamacpp

T = TypeVar("T")
HEALTH = {"vllm": "/health", "ollama": "/api/tags", "cloud": "/v1/models"}
READY = {"vllm": "/health", "ollama": "/api/version"}
CLOUD_KEY = "EMBEDDED_CLOUD_KEY"
ROOT = Path(__file__).parent.parent
REAL = ("llamacpp",)
GRACE = "termination-grace-period"
TERMINATION_GRACE_S = 30  # the default of Kubernetes


@dataclass(frozen=True)
class Place:
    """The port and the files of one engine."""

    port: int
    ledger: Path
    pidfile: Path


@dataclass(frozen=True)
class Program:
    argv: list[str]
    health: str
    """The path that chaos probes for health."""
    ready: str | None
    """The path of its Pod's readiness probe; None: no probe."""
    grace_s: int = TERMINATION_GRACE_S
    """Seconds from SIGTERM to SIGKILL."""
    starts_s: float = 0.0
    """Seconds that its first start is configured to take."""
    env: dict[str, str] = field(default_factory=lambda: {"PYTHONPATH": str(ROOT)})


def of(tier: Tier, params: Mapping[str, Any], place: Place, where: str, beside: Path) -> Program:
    """The program of one entry under `embedded: engines:`. Raises Refusal, whose message begins with `where`.

    `beside`: the topology's folder; a `documents` path is relative to it.
    """
    given = dict(params)
    if "documents" in given:
        given["documents"] = (beside / str(given["documents"])).resolve()
    real, personality = given.pop("engine", None), given.pop("personality", None)
    grace_s = _grace_s(given.pop(GRACE, None), where)
    if (real is None) == (personality is None):
        raise Refusal(
            f"{where}: give either a personality ({', '.join(HEALTH)}) or an engine ({', '.join(REAL)})"
        )
    if real is None:
        return replace(_simulated(tier, str(personality), given, place, where), grace_s=grace_s)
    if real not in REAL:
        raise Refusal(f"{where}: {no_such('real engine', real, REAL)}")
    return replace(_llamacpp(tier, given, place, where), grace_s=grace_s)


def _simulated(tier: Tier, personality: str, given: dict[str, Any], place: Place, where: str) -> Program:
    if personality not in HEALTH:
        raise Refusal(f"{where}: {no_such('personality', personality, HEALTH)}")
    line = ["--personality", personality, "--port", str(place.port)]
    line += ["--ledger", str(place.ledger), "--pidfile", str(place.pidfile)]
    line += ["--model", tier.model] if tier.model else []
    line += ["--api-key-env", CLOUD_KEY] if personality == "cloud" else []
    line += _flags(given)
    known = {name: each.defaults for name, each in personalities.load().items()}
    chosen = _must_parse(lambda: options.parse(line, known, os.environ), where)
    starts_s = chosen.startup_s if chosen.first_startup_s is None else chosen.first_startup_s
    argv = [sys.executable, "-m", "embedded.engine", *line]
    return Program(argv, HEALTH[personality], READY.get(personality), starts_s=starts_s)


def _llamacpp(tier: Tier, given: dict[str, Any], place: Place, where: str) -> Program:
    if tier.handles.get("engine") == EMBEDDED:
        raise Refusal(f"{where}: llama.cpp is a real engine and cannot inject faults; remove handles: engine")
    python = ROOT / ".venv-engines" / "bin" / "python"
    if not python.exists():
        raise Refusal(f"{python} is missing: run make setup")
    line = ["--port", str(place.port), "--pidfile", str(place.pidfile)]
    line += ["--models", str(ROOT / ".stack" / "models")]
    line += ["--model", tier.model] if tier.model else []
    line += _flags(given)
    _must_parse(lambda: llamacpp.parse(line), where)
    return Program([str(python), "-m", "embedded.llamacpp", *line], "/health", "/health")


def _grace_s(given: Any, where: str) -> int:
    if given is None:
        return TERMINATION_GRACE_S
    try:
        seconds = duration.parse(given)
        if seconds % 1:
            raise ValueError(f"{given!r} is not in whole seconds, which Kubernetes requires")
    except ValueError as e:
        raise Refusal(f"{where}: {GRACE}: {e}") from None
    return int(seconds)


def _flags(given: Mapping[str, Any]) -> list[str]:
    return [word for key, value in given.items() for word in (f"--{key}", str(value))]


def _must_parse(parse: Callable[[], T], where: str) -> T:
    """Checks with the engine's own parser, before any process starts."""
    try:
        return parse()
    except SystemExit:
        raise Refusal(f"{where}: invalid parameter; see the line above") from None

"""The inputs of the run on the page: the files as the run kept them, versions, arguments, seed, commit, hosts."""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.frames import INPUTS, Frames


@dataclass(frozen=True, slots=True)
class File:
    name: str
    text: str | None  # None: the run has no such file


def files(frames: Frames) -> Sequence[File]:
    return [File(name, frames.inputs.get(name)) for name in INPUTS]


def facts(frames: Frames) -> list[tuple[str, str]]:
    """(name, value) of each fact in the manifest."""
    manifest = frames.manifest
    versions = manifest.get("versions") or {}
    return [
        ("run", frames.name),
        ("status", str(manifest.get("status"))),
        ("started", utc(frames.started_at)),
        ("last known instant", utc(frames.ended_at)),
        ("length", f"{frames.ended_at - frames.started_at:.1f} s"),
        ("hosts", ", ".join(map(str, manifest.get("hosts") or [])) or "unknown"),
        ("git commit", _known(manifest.get("git_commit"))),
        ("seed", _known(manifest.get("seed"))),
        ("format of the run folder", _known(manifest.get("format"))),
        *(
            (f"version of {name}", _known(value))
            for name, value in (versions | {"gateway": frames.gateway_version}).items()
        ),
        *(
            (f"argument {name}", _argument(value))
            for name, value in (manifest.get("arguments") or {}).items()
        ),
    ]


def utc(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _known(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _argument(value: Any) -> str:
    return "not given" if value is None else value if isinstance(value, str) else json.dumps(value)

"""A run is one folder: opened with a manifest, filled by appending, closed with the same manifest.

Each file has one writer. Facts are appended, never rewritten; a run killed at any instant can be read.
"""

import datetime
import json
import os
import platform
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from contract import gateway_version, gateways, own_file
from contract.records import FORMAT, Worker
from contract.refusal import Refusal
from contract.schemas import columns

RUNNING, FINISHED, ABORTED = "running", "finished", "aborted"


class Run:
    """A run folder that is being written. Create one with `open_run`."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    def close(
        self, status: str, at: float, reason: str | None, counts: Mapping[str, int],
        workers: Sequence[Worker] = (), gateway: Mapping[str, int] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Close the manifest: `finished`, or `aborted` with the reason (`guard: …`, `signal: …`, `error: …`), and the counts.

        `workers`: how each of them ended; empty if one process drove the run. `gateway`: version → answers since the run
        was opened; they are added to those from before it.
        """
        assert status in (FINISHED, ABORTED)
        assert (status == ABORTED) == (reason is not None)
        self.manifest |= {"status": status, "closed_at": at, "reason": reason, "counts": dict(counts)}
        self.manifest["hosts"] = _hosts(workers)
        self.manifest["workers"] = [asdict(w) for w in workers]
        seen = self.manifest["gateway_versions"]
        for version, answers in gateway.items():
            gateway_version.count(seen, version, answers)
        self.manifest["versions"]["gateway"] = gateway_version.names(self.manifest["gateway_kind"], seen)
        self._write()

    def reported(self, exit_code: int) -> None:
        """Write the manifest for the third and last time: the report's exit code."""
        self.manifest["verdict_exit_code"] = exit_code
        self._write()

    def _write(self) -> None:
        write_whole(self.path / "manifest.json", json.dumps(self.manifest, indent=1) + "\n")


def open_run(
    results: Path,
    name: str,
    started_at: float,
    inputs: Mapping[str, str],
    arguments: Mapping[str, Any],
    seed: int,
    gateway: Mapping[str, int] = MappingProxyType({}),
    workers: Sequence[Worker] = (),
    gateway_kind: str = gateways.DEFAULT,
    unattended: Sequence[str] = (),
) -> Run:
    """Create a run folder with its manifest and its inputs (file name → text). Raises Refusal if that fails.

    `gateway`: version → answers of the warm-up that named it. `workers`: those that will send its requests; empty if this
    process does. `unattended`: the scenarios in which no person waits for a first token.
    """
    stamp = datetime.datetime.fromtimestamp(started_at, datetime.UTC).strftime("%Y-%m-%dT%H%M%SZ")
    path = results / f"{stamp}-{re.sub(r'[^a-z0-9_]+', '_', name.lower())}"
    try:
        results.mkdir(parents=True, exist_ok=True)
        if path.exists():  # two runs within one second
            path = path.with_name(f"{path.name}-{secrets.token_hex(2)}")
        path.mkdir()
        manifest = {
            "format": FORMAT,
            "run": path.name,
            "status": RUNNING,
            "started_at": started_at,
            "git_commit": _git_commit(),
            "versions": {**_versions(), "gateway": gateway_version.names(gateway_kind, gateway)},
            "gateway_kind": gateway_kind,
            "gateway_versions": dict(gateway),
            "unattended": list(unattended),
            "arguments": dict(arguments),
            "seed": seed,
            "hosts": _hosts(workers),
            "workers": [asdict(w) for w in workers],
        }
        write_whole(path / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        for file, text in inputs.items():
            write_whole(path / file, text)
        _point_latest(results, path.name)
    except OSError as e:
        raise Refusal(
            f"{results}: cannot create a run folder there: {e.strerror}; make it writable"
        ) from None
    return Run(path, manifest)


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically: a reader finds the old one or the new one, and a crash loses neither."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    # Others may not write it, whatever the umask: what a restore reads from it is acted on.
    with open(own_file.opened(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(fresh, path)


class ArrowFile:
    """Appends batches to an Arrow IPC stream; a batch is in the file when `append` returns."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        columns(
            [], schema
        )  # the first call takes a second, because pyarrow imports pandas: here, and not during a run
        self._sink = open(path, "xb")  # noqa: SIM115  closed by close()
        self._writer = pa.ipc.new_stream(self._sink, schema)
        self._sink.flush()

    def append(self, records: Sequence[Any]) -> None:
        if records:
            self.append_batch(columns(records, self._schema))

    def append_batch(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)
        self._sink.flush()

    def close(self) -> None:
        """Safe to call twice."""
        if not self._sink.closed:
            self._writer.close()
            self._sink.close()


class JsonLines:
    """Appends lines that are on the disk when `append` returns. Raises OSError where the path is a link, or no regular file."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a", opener=own_file.opener)  # noqa: SIM115  closed by close()

    def append(self, line: object) -> None:
        data = asdict(line) if is_dataclass(line) and not isinstance(line, type) else line
        self._file.write(json.dumps(data) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest. Raises Refusal if it is missing or of another format."""
    try:
        manifest = json.loads((run / "manifest.json").read_text())
    except FileNotFoundError:
        raise Refusal(f"{run}: is not a run folder; it has no manifest.json") from None
    except (OSError, ValueError) as e:
        raise Refusal(f"{run}/manifest.json: cannot be read: {e}") from None
    if manifest.get("format") != FORMAT:
        raise Refusal(
            f"{run}: has format {manifest.get('format')}; this version reads format {FORMAT}. Analyse it with the version that "
            "recorded it, or record a new run"
        )
    return manifest


class Batches:
    """The whole batches of a file, one after another, as batches of `schema`. Iterate once. A missing file has none, and is not torn.

    Batches written after the reading began are left for the next reading. `torn`, valid after the iteration: whether bytes
    follow the last whole batch, because the file was cut or its next batch was just being written.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self.size = path.stat().st_size if path.exists() else 0
        self.torn = False
        self.walked = 0  # bytes

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if not self.size:  # the schema comes with the first batch
            return
        try:
            with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as reader:
                while file.tell() < self.size:
                    try:
                        batch = reader.read_next_batch()
                    except (
                        StopIteration
                    ):  # an end marker: the file was closed, or a power loss left zeros, which read the same
                        self.torn = file.tell() < self.size
                        return
                    self.walked = file.tell()
                    yield batch
        except (pa.ArrowInvalid, OSError):
            self.torn = True


def read_arrow(path: Path, schema: pa.Schema) -> tuple[pa.Table, bool]:
    """All whole batches of a file, and whether its tail was torn. A missing file gives an empty table, not torn."""
    batches = Batches(path, schema)
    return pa.Table.from_batches(batches, schema=schema), batches.torn


def read_lines(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """All whole lines of a JSON-lines file, and whether anything in it was torn. A missing file gives no lines."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return [], False
    whole, _, tail = text.rpartition("\n")
    found, torn = [], bool(tail)
    for line in whole.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # after a power loss a line may have any bytes
            torn = True
    return found, torn


def _point_latest(results: Path, name: str) -> None:
    fresh = results / f".latest.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    os.replace(fresh, results / "latest")


def _hosts(workers: Sequence[Worker]) -> list[str]:
    return list(dict.fromkeys([socket.gethostname(), *(w.host for w in workers)]))


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("locust", "gevent", "kubernetes", "pyarrow"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None

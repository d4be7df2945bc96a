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
from typing import Any, BinaryIO

import pyarrow as pa

from contract import gateway_version, gateways, ipc, own_file, strict, textfile
from contract.manifest import Manifest
from contract.records import FORMAT, Event, Worker
from contract.refusal import Refusal
from contract.schemas import columns

RUNNING, FINISHED, ABORTED = "running", "finished", "aborted"

# The limits of a run folder's files, far above those of a run of a week.
MOST_MANIFEST_BYTES = 4 * 2**20
MOST_ARROW_BYTES = 64 * 2**30
MOST_LINES_BYTES = 512 * 2**20
LONGEST_LINE = 2**20  # bytes
MOST_NESTED = 10_000  # lists and mappings in a line: a scrape has two for each counter


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


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically: a reader finds the old one or the new one, and a crash loses neither. No link is followed."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)  # of an earlier process with the same id; or a link in a stranger's folder
    # Others may not write it, whatever the umask: what a restore reads from it is acted on.
    with open(own_file.opened(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as f:
        f.write(content.encode() if isinstance(content, str) else content)
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
    """The manifest. Raises Refusal if it is missing, invalid, or of another format."""
    file = run / "manifest.json"
    if not os.path.lexists(file):
        raise Refusal(f"{run}: is not a run folder; it has no manifest.json")
    text = textfile.read(file, most_bytes=MOST_MANIFEST_BYTES, links=False)
    try:
        found = strict.parse_json(text)
    except ValueError as e:
        raise Refusal(f"{file}: cannot be read: {e}") from None
    number = found.get("format") if isinstance(found, dict) else None
    if number != FORMAT:
        raise Refusal(
            f"{run}: has format {str(number)[:20]}; this version reads format {FORMAT}. Analyse it with the version that "
            "recorded it, or record a new run"
        )
    return strict.typed(text, Manifest, str(file))


class Batches:
    """The whole batches of a file, one after another, as batches of `schema`. Iterate once. A missing file has none, and is not torn.

    Batches written after the reading began are left for the next reading. `torn`, valid after the iteration: whether bytes
    follow the last whole batch, because the file was cut or its next batch was just being written. Raises Refusal for a file
    that no run has: links, another schema, compressed or invalid batches.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._file: BinaryIO | None = None
        self.size = 0
        if os.path.lexists(path):
            self._file = textfile.opened(path, most_bytes=MOST_ARROW_BYTES, links=False)
            self.size = os.fstat(self._file.fileno()).st_size
        self.torn = False
        self.walked = 0  # bytes

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._file is None:
            return
        with self._file as file:
            if not self.size:  # the schema comes with the first batch
                return
            try:
                yield from self._batches(file)
            except (ipc.NotWhole, OSError):
                self.torn = True
            except ipc.Unusual as e:
                if isinstance(e, ipc.Damaged) and _only_zeros(file):  # as a power loss leaves it
                    self.torn = True
                    return
                raise Refusal(
                    f"{self._path}: {e} at byte {self.walked}; copy the file again from where it was recorded, or cut it there: "
                    f"truncate -s {self.walked} {self._path}"
                ) from None

    def _batches(self, file: BinaryIO) -> Iterator[pa.RecordBatch]:
        found = ipc.read_schema(file, self.size)
        if not found.equals(self._schema):
            raise Refusal(
                f"{self._path}: its columns are not those of format {FORMAT}; copy the file again from where it was recorded"
            )
        while (at := file.tell()) < self.size:
            left = max(self.size, os.fstat(file.fileno()).st_size) - at
            batch = ipc.read_batch(file, left, self._schema)
            if batch is None:  # the file was closed
                self.torn = file.tell() < self.size
                return
            self.walked = file.tell()
            yield batch


def _only_zeros(file: BinaryIO) -> bool:
    while part := file.read(2**20):
        if part.strip(b"\0"):
            return False
    return True


def read_arrow(path: Path, schema: pa.Schema) -> tuple[pa.Table, bool]:
    """All whole batches of a file, and whether its tail was torn. A missing file gives an empty table, not torn. Raises Refusal,
    as `Batches`."""
    batches = Batches(path, schema)
    return pa.Table.from_batches(batches, schema=schema), batches.torn


def read_lines(path: Path, kind: type = Event) -> tuple[list[dict[str, Any]], bool]:
    """All whole lines of a JSON-lines file, and whether anything in it was torn. A missing file gives no lines.

    `kind`: the dataclass of which each line is one. Raises Refusal for a line of another kind, and for a file that no run has.
    """
    if not os.path.lexists(path):
        return [], False
    found: list[dict[str, Any]] = []
    torn = False
    with textfile.opened(path, most_bytes=MOST_LINES_BYTES, links=False) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
            where = f"{path} line {number}"
            if len(line) > LONGEST_LINE or line.count(b"{") + line.count(b"[") > MOST_NESTED:
                raise Refusal(f"{where}: is longer than a line that a run writes; remove it")
            if not line.endswith(b"\n"):
                torn = True
                break
            text = line.decode(errors="replace")
            try:
                strict.parse_json(text)
            except ValueError:  # after a power loss a line may have any bytes
                torn = True
                continue
            found.append(strict.typed(text, kind, where))
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

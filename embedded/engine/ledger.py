"""The engine's own record of every request: the ground truth for tests of the harness's timing and attribution.

A file of JSON lines, one when a request arrives and one when it ends; a request that a kill -9 cut has no second line.
What such a request received is recorded too: one line is written before its first token, and one before its end.
Law: a line is one write on a descriptor opened for appending, so replicas and restarts may share a file.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from contract.clock import Clock


@dataclass(slots=True)
class Entry:
    """One request; times in unix seconds UTC, None if the request never got that far."""

    id: str
    """Unique among all engines that share the file."""
    pid: int
    """The replica that got the request."""
    nonce: str | None
    """The request id at the start of the last user message."""
    path: str
    stream: bool
    max_tokens: int | None
    arrived_at: float
    """When the last byte of the request was read."""
    started_at: float | None = None
    """When it got a slot."""
    begun_at: float | None = None
    """Streamed: just before its first token was written; recorded before any client can have received that token."""
    first_byte_at: float | None = None
    """Just after the first content was written to the socket."""
    chunks: list[float] = field(default_factory=list)
    """Just before each write of content: streamed one per token, except `joined` ones; plain one in total."""
    joined: int = 0
    """Tokens beyond the first of a write, for writes of several tokens."""
    ended_at: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    """Tokens generated so far; `written_tokens` is how many of them were written."""
    status: int | None = None
    how: str | None = None
    """length, stop, gone (the client disconnected), refused (see status), error (a bug), abort (by the engine at SIGTERM,
    or by a fault). By faults only: reset (RST before any byte), no_response (closed without a byte), cut (begun, without
    its proper end), content_filter, garbled (sent to its end, but a part of it is not JSON).
    None: never ended."""
    ending: str | None = None
    """How it was about to end, recorded before any client can have received its last bytes; None: it never got that far,
    or a fault or a disconnect ended it."""
    fault: str | None = None
    """The fault that affected it, or None."""

    @property
    def written_tokens(self) -> int:
        """Tokens that were written to the client."""
        if self.stream:
            return len(self.chunks) + self.joined
        return (self.output_tokens or 0) if self.chunks else 0


# Known at arrival; the line at the end holds the rest.
AT_ARRIVAL = ("id", "pid", "nonce", "path", "stream", "max_tokens", "arrived_at")
AT_END = tuple(one.name for one in fields(Entry) if one.name not in AT_ARRIVAL)


class Ledger:
    """Appends to the file; without a path, records nothing."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._file = None
        if path is not None:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._pid = os.getpid()
        # A pid can be reused; a pid with its start time in microseconds cannot.
        self._run = f"{int(clock.now() * 1e6):x}-{self._pid}"
        self._count = 0

    @contextmanager
    def completion(
        self, nonce: str | None, path: str, stream: bool, max_tokens: int | None, arrived_at: float
    ) -> Iterator[Entry]:
        """The entry of one request, for the block to fill in; both lines are written even if the block raises."""
        self._count += 1
        entry = Entry(
            id=f"{self._run}-{self._count}",
            pid=self._pid,
            nonce=nonce,
            path=path,
            stream=stream,
            max_tokens=max_tokens,
            arrived_at=round(arrived_at, 6),
        )
        self._write({"line": "arrived"} | {name: getattr(entry, name) for name in AT_ARRIVAL})
        try:
            yield entry
        except asyncio.CancelledError:
            entry.how = "gone"
            raise
        except Exception:
            entry.how = "error"
            raise
        finally:
            entry.ended_at = round(self._clock.now(), 6)
            self._write({"line": "ended", "id": entry.id} | {name: getattr(entry, name) for name in AT_END})

    def begins(self, entry: Entry) -> None:
        """Its first token is about to be written."""
        entry.begun_at = round(self._clock.now(), 6)
        self._write({"line": "begun", "id": entry.id, "begun_at": entry.begun_at})

    def ends(self, entry: Entry) -> None:
        """Its last bytes are about to be written; `entry.how` is set."""
        entry.ending = entry.how
        self._write({"line": "ending", "id": entry.id, "ending": entry.ending})

    def _write(self, line: dict[str, object]) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def read(path: Path | str) -> list[Entry]:
    """Every request in a ledger, in order of arrival; an incomplete last line is ignored."""
    entries: dict[str, Entry] = {}
    whole_lines = Path(path).read_bytes().split(b"\n")[:-1]
    for number, raw in enumerate(whole_lines, 1):
        try:
            line = json.loads(raw)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
        if line.pop("line") == "arrived":
            entries[line["id"]] = Entry(**line)
        else:
            entries[line["id"]] = replace(entries[line["id"]], **line)
    return sorted(entries.values(), key=lambda entry: entry.arrived_at)

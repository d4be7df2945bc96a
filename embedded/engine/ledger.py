"""The engine's own account of every request: the truth that the harness's timing and attribution are tested against.

A file of JSON lines, one when a request arrived and one when it ended; a request that a kill -9 cut has arrived and never
ended. What such a request was told is on record all the same: a line goes before its first token, and one before its end.
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
    """One request; instants in unix seconds UTC, None where it never came to that."""

    id: str
    """Unique among all that share the file."""
    pid: int
    """The replica that was asked."""
    nonce: str | None
    """The request id at the head of what the user said last."""
    path: str
    stream: bool
    max_tokens: int | None
    arrived_at: float
    """When the last byte of the request was read."""
    started_at: float | None = None
    """When it was given a slot."""
    begun_at: float | None = None
    """Streamed: just before its first token was written; on record before that token can have reached anybody."""
    first_byte_at: float | None = None
    """Just after the first content was written to the socket."""
    chunks: list[float] = field(default_factory=list)
    """Just before each write of content: when streamed one a token, but for those that were `joined`; one in all when plain."""
    joined: int = 0
    """Tokens beyond the first of a write, where several went out in one."""
    ended_at: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    """Generated so far; how many of them were written is `written_tokens`."""
    status: int | None = None
    how: str | None = None
    """length, stop, gone (the client went away), refused (see status), error (a bug), abort (ours, at SIGTERM, or a
    fault's). By faults alone: reset (RST before any byte), no_response (hung up on without a byte), cut (begun, and left
    without its proper end), content_filter, garbled (told to its end, but a part of it is no JSON).
    None: never ended."""
    ending: str | None = None
    """How it was about to end, on record before its last bytes can have reached anybody; None: it never came so far, or a
    fault or a hang-up ended it."""
    fault: str | None = None
    """Which fault did something to it; None: none did."""

    @property
    def written_tokens(self) -> int:
        """How many tokens went out to the client."""
        if self.stream:
            return len(self.chunks) + self.joined
        return (self.output_tokens or 0) if self.chunks else 0


# What is known at arrival; the rest is told by the second line.
AT_ARRIVAL = ("id", "pid", "nonce", "path", "stream", "max_tokens", "arrived_at")
AT_END = tuple(one.name for one in fields(Entry) if one.name not in AT_ARRIVAL)


class Ledger:
    """Appends; with no path it keeps nothing."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._file = None
        if path is not None:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._pid = os.getpid()
        # A pid comes again; a pid and the microsecond of its start do not.
        self._run = f"{int(clock.now() * 1e6):x}-{self._pid}"
        self._count = 0

    @contextmanager
    def completion(
        self, nonce: str | None, path: str, stream: bool, max_tokens: int | None, arrived_at: float
    ) -> Iterator[Entry]:
        """The entry of one request, for the block to fill in; both lines are written whatever happens in it."""
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
        """Its last bytes are about to be written; `how` is known."""
        entry.ending = entry.how
        self._write({"line": "ending", "id": entry.id, "ending": entry.ending})

    def _write(self, line: dict[str, object]) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def read(path: Path | str) -> list[Entry]:
    """Every request in a ledger, in order of arrival; a line that was being written is passed over."""
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

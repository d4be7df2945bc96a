"""Writes the chaos process's files in the run folder: events at once, rows of the probe and the samplers once a second."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from chaos.stop import Stop
from contract import samplers
from contract.records import Event, RequestRecord
from contract.run import ArrowFile, JsonLines
from contract.sampler import Process, Rows
from contract.schemas import REQUESTS

EVERY_S = 1.0


class Recording:
    """One writer per file. A file that cannot be written stops the run: no run without its record."""

    def __init__(self, folder: Path, stop: Stop) -> None:
        self._stop = stop
        self._events = JsonLines(folder / "chaos.jsonl")
        self._probe = ArrowFile(folder / "probe.arrow", REQUESTS)
        self._samples = {name: samplers.create(folder, name) for name in samplers.every(Process.CHAOS)}
        self._requests: list[RequestRecord] = []
        self._rows: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        self._over = Stop()
        self._thread = threading.Thread(target=self._flush_often, name="recording", daemon=True)
        self._thread.start()

    def event(self, event: Event) -> None:
        """The event is on disk when this returns. Never raises: a full disk must not end a restore."""
        with self._lock:
            self._guarded("chaos.jsonl", partial(self._events.append, event))

    def record(self, record: RequestRecord) -> None:
        with self._lock:
            self._requests.append(record)

    def sample(self, name: str, rows: Rows) -> None:
        """Rows of the sampler of this name."""
        with self._lock:
            self._rows.setdefault(name, []).extend(rows)

    def close(self) -> None:
        self._over.set("closed")
        self._thread.join()
        self._guarded("chaos.jsonl", self._events.close)
        self._guarded("probe.arrow", self._probe.close)
        for name, file in self._samples.items():
            self._guarded(samplers.file(name), file.close)

    def _flush_often(self) -> None:
        over = False
        while not over:
            over = self._over.wait(EVERY_S)
            with self._lock:
                requests, self._requests = self._requests, []
                rows, self._rows = self._rows, {}
            self._guarded("probe.arrow", partial(self._probe.append, requests))
            for name, sampled in rows.items():
                self._guarded(samplers.file(name), partial(self._samples[name].append, sampled))

    def _guarded(self, file: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as e:  # a full disk, a file closed after a failure, a row that violates its schema
            self._stop.set(f"error: {file} cannot be written: {e}")

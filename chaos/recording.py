"""What the chaos process writes into the run folder: events at once, the probe's and the health's rows once a second."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from chaos.stop import Stop
from contract.records import Ask, Event, Health
from contract.run import ArrowFile, JsonLines
from contract.schemas import HEALTH, REQUESTS

EVERY_S = 1.0


class Recording:
    """One writer per file. A file that cannot be written stops the run: what cannot be told must not go on."""

    def __init__(self, folder: Path, stop: Stop) -> None:
        self._stop = stop
        self._events = JsonLines(folder / "chaos.jsonl")
        self._probe = ArrowFile(folder / "probe.arrow", REQUESTS)
        self._health = ArrowFile(folder / "health.arrow", HEALTH)
        self._asks: list[Ask] = []
        self._rows: list[Health] = []
        self._lock = threading.Lock()
        self._over = Stop()
        self._thread = threading.Thread(target=self._flush_often, name="recording", daemon=True)
        self._thread.start()

    def event(self, event: Event) -> None:
        """On the disk when it returns. Never raises: a mend must not end because the disk is full."""
        with self._lock:
            self._guarded("chaos.jsonl", partial(self._events.append, event))

    def ask(self, ask: Ask) -> None:
        with self._lock:
            self._asks.append(ask)

    def health(self, row: Health) -> None:
        with self._lock:
            self._rows.append(row)

    def close(self) -> None:
        self._over.set("closed")
        self._thread.join()
        self._guarded("chaos.jsonl", self._events.close)
        self._guarded("probe.arrow", self._probe.close)
        self._guarded("health.arrow", self._health.close)

    def _flush_often(self) -> None:
        over = False
        while not over:
            over = self._over.wait(EVERY_S)
            with self._lock:
                asks, self._asks = self._asks, []
                rows, self._rows = self._rows, []
            self._guarded("probe.arrow", partial(self._probe.append, asks))
            self._guarded("health.arrow", partial(self._health.append, rows))

    def _guarded(self, file: str, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, ValueError) as e:  # ValueError: the file was closed after an earlier failure
            self._stop.set(f"error: {file} cannot be written: {e}")

"""Records → requests.arrow, about once a second. One writer per file; counts every request.

A record that cannot be written ends the run: Locust only logs exceptions of its listeners, and a run
without its records would look like a run without load.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gevent

from contract.records import RequestRecord
from scenarios.gateway.tally import Tally

_FLUSH_S = 1.0
_BATCH = 250  # records; a batch takes 1–2 ms, and the hub runs between two batches
_BREATH_S = 0.001
log = logging.getLogger(__name__)


class Sink(Protocol):
    """Destination of records: an ArrowFile, or a list for the warm-up, before there is a run folder."""

    def append(self, records: Sequence[Any]) -> None: ...

    def close(self) -> None: ...


class Recorder:
    """Every request is counted in `tally` and passed once to `keep`. Call `start` after any fork."""

    def __init__(self, file: Sink, on_failure: Callable[[str], None]) -> None:
        self._file, self._on_failure = file, on_failure
        self._buffer: list[RequestRecord] = []
        self._greenlet: gevent.Greenlet | None = None
        self._closed = False
        self._failed = False
        self.tally = Tally()

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._flush_regularly)

    def keep(self, record: RequestRecord) -> None:
        """Store the record of a request that has ended. Does not switch greenlets, so a kill cannot interrupt it."""
        self.tally.ended(record)
        if self._closed:
            log.error("%s ended after the recorder was closed; its record is lost", record.request_id)
            return
        self._buffer.append(record)

    def flush(self) -> None:
        """Write what is buffered. After a failure nothing more is written: the file's tail may be torn."""
        while self._buffer:
            self._write_batch()

    def close(self) -> None:
        """Write the rest. Safe to call twice, and from within `on_failure`."""
        if self._closed:
            return
        self._closed = True
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.kill()
        self.flush()
        try:
            self._file.close()
        except Exception as e:
            self._fail(e)

    def _flush_regularly(self) -> None:
        while not self._closed and not self._failed:
            gevent.sleep(_FLUSH_S)
            while self._buffer:
                self._write_batch()
                gevent.sleep(_BREATH_S)

    def _write_batch(self) -> None:
        batch, self._buffer = self._buffer[:_BATCH], self._buffer[_BATCH:]
        if self._failed:
            return
        try:
            self._file.append(batch)
        except Exception as e:  # a full disk, or a value that does not fit the schema
            self._fail(e)

    def _fail(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            self._on_failure(f"records cannot be written: {type(error).__name__}: {error}")

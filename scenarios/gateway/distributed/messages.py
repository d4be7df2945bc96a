"""Messages between a master and its workers, and records as bytes. They use Locust's own connection.

The master answers HELLO with SETUP. All workers are READY before the run opens; START follows when chaos is ready.
"""

from typing import Any

import pyarrow as pa

from contract.schemas import columns

HELLO = "brownout_hello"  # worker: it can receive messages
SETUP = "brownout_setup"  # master: what a worker needs for the run; contains no key
READY = "brownout_ready"  # worker: its identity, clock and warm-up records; or the reason why it cannot run
START = "brownout_start"  # master: the run is open
TALLY = "brownout_tally"  # worker, once a second: the guards use these counts
PING, PONG = "brownout_ping", "brownout_pong"  # to compare clocks
BROKEN = "brownout_broken"  # worker: it cannot record
OVER = "brownout_over"  # worker: its users have stopped; the remaining records

PARCEL = "brownout"
"""The key of a worker's finished batches in Locust's reports."""


class Batches:
    """Same interface as ArrowFile, on a worker: keeps finished batches until they are sent."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        packed([], schema)  # the first serialization takes a second, as with ArrowFile
        self._ready: list[bytes] = []

    def append(self, records: Any) -> None:
        if records:
            self._ready.append(packed(records, self._schema))

    def take(self) -> list[bytes]:
        ready, self._ready = self._ready, []
        return ready

    def close(self) -> None:
        pass


def packed(records: Any, schema: pa.Schema) -> bytes:
    return bytes(columns(records, schema).serialize())


def unpacked(data: bytes, schema: pa.Schema) -> pa.RecordBatch:
    """Raises pyarrow.ArrowInvalid if `data` is not a batch of that schema."""
    return pa.ipc.read_record_batch(pa.py_buffer(data), schema)

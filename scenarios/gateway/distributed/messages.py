"""The words between a master and its workers, and records as bytes. They travel on Locust's own connection.

What a master says: HELLO's answer is STAGE; all are staged before the run opens, CURTAIN follows when chaos is ready.
"""

from typing import Any

import pyarrow as pa

from contract.schemas import columns

HELLO = "brownout_hello"  # worker: I can hear you
STAGE = "brownout_stage"  # master: what you need to play; no key is in it
STAGED = "brownout_staged"  # worker: who I am, my clock, my warm-up; or why I cannot play
CURTAIN = "brownout_curtain"  # master: the run is open
TALLY = "brownout_tally"  # worker, once a second: the guards rest on these counts
PING, PONG = "brownout_ping", "brownout_pong"  # the clocks
BROKEN = "brownout_broken"  # worker: it cannot record
OVER = "brownout_over"  # worker: my users have gone, and this is the rest

PARCEL = "brownout"
"""The key in Locust's reports under which a worker's finished batches are."""


class Batches:
    """Stands on a worker where an ArrowFile would: keeps finished batches until they are sent."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        packed([], schema)  # the first takes a second, as with an ArrowFile
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
    """Raises pyarrow.ArrowInvalid where it is no batch of that schema."""
    return pa.ipc.read_record_batch(pa.py_buffer(data), schema)

"""The messages of an Arrow IPC stream, each checked before Arrow decodes it: the file may be a stranger's.

Arrow checks neither offsets nor lengths inside a batch: an invalid batch ends the process when it is used. It also unpacks
compressed batches without a limit. Our writers compress nothing, so here each batch is at most as large as its bytes in the file.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

_CONTINUATION = b"\xff\xff\xff\xff"
_MOST_METADATA = 2**20  # bytes; that of our widest schema has about 6,000
_SCHEMA, _BATCH = 1, 3  # MessageHeader in Arrow's Message.fbs
_END = b"\xff\xff\xff\xff\0\0\0\0"


class NotWhole(Exception):
    """The bytes are not a whole message: the file was cut there, or its tail was not written."""


class Unusual(Exception):
    """A whole message that our writers do not write; the text says what it is."""


class Damaged(Unusual):
    """A batch with invalid values: changed by someone, or the last one before a power loss."""


@dataclass(frozen=True, slots=True)
class _Head:
    kind: int
    body_bytes: int
    compressed: bool


def read_schema(file: BinaryIO, left: int) -> pa.Schema:
    """The schema at the start of a stream; `left`: bytes up to the end of the file. Raises NotWhole and Unusual."""
    found = _message(file, left)
    if found is None or found[0].kind != _SCHEMA:
        raise NotWhole("no schema")
    try:
        return pa.ipc.read_schema(pa.ipc.read_message(pa.py_buffer(found[1])))
    except (pa.ArrowException, OSError, ValueError) as e:
        raise NotWhole(str(e)) from None


def read_batch(file: BinaryIO, left: int, schema: pa.Schema) -> pa.RecordBatch | None:
    """The next batch, with all its values checked; None: the stream ends here. Raises NotWhole and Unusual."""
    found = _message(file, left)
    if found is None:
        return None
    head, data = found
    if head.kind != _BATCH:
        raise Unusual("has a message that is not a batch of records")
    if head.compressed:
        raise Unusual("has a compressed batch; no run has one, since it may unpack to any size")
    try:
        batch = pa.ipc.read_record_batch(pa.ipc.read_message(pa.py_buffer(data)), schema)
        batch.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as e:
        raise Damaged(f"has an invalid batch ({' '.join(str(e).split())[:200]})") from None
    if batch.nbytes > head.body_bytes:
        raise Damaged("has a batch whose columns share their bytes")
    for field, column in zip(schema, batch.columns, strict=True):
        if not field.nullable and column.null_count:
            raise Damaged(f"has a record without {field.name}")
    return batch


def _message(file: BinaryIO, left: int) -> tuple[_Head, bytes] | None:
    """The next message, with its bytes; None: an end marker. At most `left` bytes are read."""
    prefix = file.read(8)
    if prefix == _END:
        return None
    if len(prefix) < 8 or prefix[:4] != _CONTINUATION:
        raise NotWhole("no message")
    (length,) = struct.unpack("<i", prefix[4:])
    if not 0 < length <= min(_MOST_METADATA, left):
        raise NotWhole("no metadata")
    metadata = file.read(length)
    try:
        head = _head(metadata)
    except (struct.error, IndexError):
        raise NotWhole("no metadata") from None
    if not 0 <= head.body_bytes <= left - 8 - length:
        raise NotWhole("no body")
    body = file.read(head.body_bytes)
    if len(metadata) < length or len(body) < head.body_bytes:
        raise NotWhole("no body")
    return head, b"".join((prefix, metadata, body))


def _head(metadata: bytes) -> _Head:
    """Of a Message, a table in the format of FlatBuffers. pyarrow does not say whether a batch is compressed.

    Arrow verifies the same bytes before it uses them, so an offset that leads out of them is found there.
    """
    (message,) = struct.unpack_from("<I", metadata)
    kind, header, body = (_field(metadata, message, i) for i in (1, 2, 3))
    batch = None if header is None else header + struct.unpack_from("<I", metadata, header)[0]
    return _Head(
        kind=0 if kind is None else metadata[kind],
        body_bytes=0 if body is None else struct.unpack_from("<q", metadata, body)[0],
        compressed=batch is not None and _field(metadata, batch, 3) is not None,
    )


def _field(metadata: bytes, table: int, number: int) -> int | None:
    """Where the field of this number is; None: the table has none."""
    places = table - struct.unpack_from("<i", metadata, table)[0]
    entry = 4 + 2 * number
    if entry >= struct.unpack_from("<H", metadata, places)[0]:
        return None
    offset = struct.unpack_from("<H", metadata, places + entry)[0]
    return table + int(offset) if offset else None

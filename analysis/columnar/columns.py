"""Records as compact columns: read once, batch by batch, each column in the smallest type that holds it. Judges nothing.

A run writes at least one batch per second. Batches are combined to about 100,000 records, converted to columns and dropped. So
the file is never in memory as a whole, and ten million records without their gaps take 1.5 GB.
The columns that only requests which classify a document have (OF_A_DOCUMENT) are in a separate table.
"""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.extensions import ExtensionArray

from analysis.columnar.lists import NUMBER, Gaps
from analysis.progress import OnProgress, no_progress
from contract.run import Batches
from contract.schemas import REQUESTS

ROWS = 100_000  # records taken together
THREADS = 2  # that convert them to columns; Arrow releases the GIL meanwhile
ONE_MORE_BATCH = 2**26  # bytes: it may have been in progress when the size was read

# Only a request that classifies a document has these.
OF_A_DOCUMENT = ("document", "attempt", "valid", "wrong")
OF_EVERY_REQUEST = pa.schema([f for f in REQUESTS if f.name not in OF_A_DOCUMENT])

# The minimum of bytes per record in a file: an offset for each text and list, and each number.
LEAST = sum(
    4 if pa.types.is_string(t) or pa.types.is_list(t) else t.bit_width // 8 for t in OF_EVERY_REQUEST.types
)

# Texts that differ in every record; all others repeat and are stored as category codes.
UNIQUE = ("request_id",)

Column = np.ndarray | ExtensionArray


def requests_of(
    files: Sequence[tuple[str, Batches]], on_progress: OnProgress = no_progress
) -> tuple[dict[str, Column], pa.Table]:
    """The records of several files as columns of OF_EVERY_REQUEST, in the order of the files, with the column `file`.

    Repeated texts are categories in alphabetical order, integers are nullable, a float's None is NaN.
    The second result is a table of the requests that classify a document: their `row` in the columns, and OF_A_DOCUMENT.
    """
    size = ONE_MORE_BATCH + sum(batches.size for _, batches in files)
    made: dict[str, Any] = {f.name: _maker(f, size) for f in OF_EVERY_REQUEST} | {"file": _Categories()}
    classified, rows = [_CLASSIFIED.empty_table()], 0
    with ThreadPoolExecutor(THREADS) as pool:
        doing: list[Future[None]] = []
        for file, batches in files:
            for table in _together(batches):  # the next batches are read while these are converted
                on_progress(f"reading {file}.arrow", min(1.0, batches.walked / batches.size))
                for done in doing:
                    done.result()
                doing = [pool.submit(_add, made[name], table.column(name)) for name in OF_EVERY_REQUEST.names]
                made["file"].add(pa.array([file]).take(pa.array(np.zeros(table.num_rows, np.int8))))
                classified.append(_classified(table, rows))
                rows += table.num_rows
        for done in doing:
            done.result()
    release_memory()
    return {name: made.pop(name).whole() for name in list(made)}, pa.concat_tables(classified)


_CLASSIFIED = pa.schema([pa.field("row", pa.int64()), *(REQUESTS.field(name) for name in OF_A_DOCUMENT)])


def _classified(table: pa.Table, first: int) -> pa.Table:
    """Those of these records that classify a document; the first record is row `first`."""
    at = np.flatnonzero(table.column("document").is_valid().to_numpy())
    kept = table.select(list(OF_A_DOCUMENT)).take(pa.array(at))
    return kept.add_column(0, "row", pa.array(at + first)).cast(_CLASSIFIED)


def release_memory() -> None:
    """Return unused memory to the system: about a gigabyte after reading ten million records.

    Both allocators keep freed memory for later allocations, but those are larger than any free piece.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def _add(to: Any, column: pa.ChunkedArray) -> None:
    to.add(column.combine_chunks())


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= ROWS:
            yield pa.Table.from_batches(held, schema=REQUESTS)
            held, rows = [], 0
    if held:
        yield pa.Table.from_batches(held, schema=REQUESTS)


def _maker(field: pa.Field, size: int) -> "_Buffer | _Nullable | _Unique | _Categories | _GapsBuilder":
    if pa.types.is_list(field.type):
        return _GapsBuilder(size)
    if pa.types.is_string(field.type):
        return _Unique() if field.name in UNIQUE else _Categories()
    if pa.types.is_floating(field.type):
        return _Buffer(np.dtype(np.float64), size // LEAST)
    return _Nullable(field.type, size // LEAST)


class _Buffer:
    """One array with the maximum length that the files allow, filled from its start. Pages not written take no memory."""

    def __init__(self, kind: np.dtype, room: int) -> None:
        self._room, self._used = np.empty(room, kind), 0

    def add(self, part: pa.Array | np.ndarray) -> None:
        numbers = part if isinstance(part, np.ndarray) else part.to_numpy(zero_copy_only=False)
        self._room[self._used : self._used + len(numbers)] = numbers
        self._used += len(numbers)

    def whole(self) -> np.ndarray:
        return self._room[: self._used]


class _Nullable:
    """Integers and booleans; None stays distinct from 0 and False."""

    def __init__(self, kind: pa.DataType, room: int) -> None:
        self._type = np.dtype(bool) if pa.types.is_boolean(kind) else np.dtype(kind.to_pandas_dtype())
        self._numbers, self._missing = _Buffer(self._type, room), _Buffer(np.dtype(bool), room)

    def add(self, part: pa.Array) -> None:
        filler = False if self._type.kind == "b" else 0
        self._numbers.add(pc.fill_null(part, filler) if part.null_count else part)
        self._missing.add(part.is_null())

    def whole(self) -> ExtensionArray:
        kind = pd.arrays.BooleanArray if self._type.kind == "b" else pd.arrays.IntegerArray
        return kind(self._numbers.whole(), self._missing.whole())


class _Unique:
    def __init__(self) -> None:
        self._parts: list[pa.Array] = []

    def add(self, part: pa.Array) -> None:
        self._parts.append(part.cast(pa.large_string()))

    def whole(self) -> ExtensionArray:
        whole = pa.chunked_array(self._parts, pa.large_string()).combine_chunks()
        self._parts = []
        release_memory()
        return pd.array(whole, dtype="str")


class _Categories:
    """Repeated texts: a category code for each record."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._parts: list[np.ndarray] = []

    def add(self, part: pa.Array) -> None:
        encoded = part.dictionary_encode()
        kinds = encoded.dictionary.to_pylist()
        number = np.array([*(self._number.setdefault(k, len(self._number)) for k in kinds), -1])
        at = pc.fill_null(encoded.indices, len(kinds)).to_numpy(zero_copy_only=False)
        self._parts.append(number.astype(_smallest(len(self._number)))[at])

    def whole(self) -> pd.Categorical:
        kinds = sorted(self._number)
        place = np.full(len(kinds) + 1, -1)  # the last is for −1: no text
        place[[self._number[k] for k in kinds]] = np.arange(len(kinds))
        place = place.astype(_smallest(len(kinds)))
        codes = [place[part] for part in self._parts]
        self._parts = []
        return pd.Categorical.from_codes(
            np.concatenate([np.zeros(0, place.dtype), *codes]), categories=pd.Index(kinds, dtype="str")
        )


def _smallest(kinds: int) -> np.dtype:
    return np.dtype(np.int8 if kinds < 2**7 else np.int16 if kinds < 2**15 else np.int32)


class _GapsBuilder:
    def __init__(self, size: int) -> None:
        self._numbers = _Buffer(NUMBER, size // NUMBER.itemsize)
        self._lengths = _Buffer(np.dtype(np.int32), size // LEAST)

    def add(self, part: pa.ListArray) -> None:
        self._numbers.add(part.flatten())
        self._lengths.add(pc.fill_null(pc.list_value_length(part), 0))

    def whole(self) -> Gaps:
        return Gaps.one_after_another(self._lengths.whole(), self._numbers.whole())


def of_table(rows: pd.DataFrame) -> dict[str, Column]:
    """The table's columns, not copied."""
    return {
        str(name): column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array
        for name, column in rows.items()
    }


def split(rows: dict[str, Column], by: Sequence[str], parts: Sequence[np.ndarray]) -> list[pd.DataFrame]:
    """A table for each part (a mask of rows), sorted by the columns `by`: stable, missing values last.

    Removes the columns from `rows` one by one, so that no full copy exists beside the original.
    `rows` is a dict because a DataFrame is rebuilt each time a column is removed.
    """
    order = np.lexsort([np.asarray(rows[name], float) for name in reversed(by)])
    taken = [order[part[order]] for part in parts]
    found: list[dict[str, Column]] = [{} for _ in parts]
    for name in list(rows):
        values = rows.pop(name)
        for columns, which in zip(found, taken, strict=True):
            columns[name] = values.take(which)
    return [pd.DataFrame(columns, copy=False) for columns in found]

"""Records as compact columns: read once, batch after batch, and each column kept as small as what it holds. Judges nothing.

A run of a day comes in a batch a second and more. Some hundred thousand records at a time are taken together, turned into
columns, and forgotten; so the file is never in memory as a whole, and ten million records without their gaps take 1.5 GB.
What only asks that classify a document have (OF_A_DOCUMENT) is kept apart, of those alone.
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
from analysis.progress import Told, silent
from contract.run import Batches
from contract.schemas import REQUESTS

ROWS = 100_000  # records taken together
THREADS = 2  # that make columns of them; Arrow lets go of the interpreter meanwhile
ONE_MORE_BATCH = 2**26  # bytes: it may have been begun when the size was looked at

# Only a request that classifies a document has these.
OF_A_DOCUMENT = ("document", "attempt", "valid", "wrong")
OF_EVERY_REQUEST = pa.schema([f for f in REQUESTS if f.name not in OF_A_DOCUMENT])

# Bytes of a file that a record takes at the least: of each text and list its place, of each number itself.
LEAST = sum(
    4 if pa.types.is_string(t) or pa.types.is_list(t) else t.bit_width // 8 for t in OF_EVERY_REQUEST.types
)

# Texts of which every record has another one; all others repeat, and are kept as numbers of their kinds.
OWN = ("request_id",)

Column = np.ndarray | ExtensionArray


def requests_of(
    files: Sequence[tuple[str, Batches]], told: Told = silent
) -> tuple[dict[str, Column], pa.Table]:
    """The records of several files as columns of OF_EVERY_REQUEST, in the order of the files, and `file`, which tells them apart.

    Texts that repeat are categories in the order of the alphabet, whole numbers are nullable, None of a float is NaN.
    And of the requests that classify a document: which `row` of the columns each is, and OF_A_DOCUMENT.
    """
    size = ONE_MORE_BATCH + sum(batches.size for _, batches in files)
    made: dict[str, Any] = {f.name: _maker(f, size) for f in OF_EVERY_REQUEST} | {"file": _Kinds()}
    classified, rows = [_CLASSIFIED.empty_table()], 0
    with ThreadPoolExecutor(THREADS) as pool:
        doing: list[Future[None]] = []
        for file, batches in files:
            for table in _together(batches):  # the next are read while these are made into columns
                told(f"reading {file}.arrow", min(1.0, batches.walked / batches.size))
                for done in doing:
                    done.result()
                doing = [pool.submit(_add, made[name], table.column(name)) for name in OF_EVERY_REQUEST.names]
                made["file"].add(pa.array([file]).take(pa.array(np.zeros(table.num_rows, np.int8))))
                classified.append(_classified(table, rows))
                rows += table.num_rows
        for done in doing:
            done.result()
    give_back()
    return {name: made.pop(name).whole() for name in list(made)}, pa.concat_tables(classified)


_CLASSIFIED = pa.schema([pa.field("row", pa.int64()), *(REQUESTS.field(name) for name in OF_A_DOCUMENT)])


def _classified(table: pa.Table, first: int) -> pa.Table:
    """Of these records, the first of which is row `first`, those that classify a document."""
    at = np.flatnonzero(table.column("document").is_valid().to_numpy())
    kept = table.select(list(OF_A_DOCUMENT)).take(pa.array(at))
    return kept.add_column(0, "row", pa.array(at + first)).cast(_CLASSIFIED)


def give_back() -> None:
    """What a part of the work took and needs no more goes back to the machine: after reading ten million records a gigabyte.

    Both allocators keep it for the next who asks, and he asks for more at once than they have in one piece.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others do without
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


def _maker(field: pa.Field, size: int) -> "_Long | _Whole | _Own | _Kinds | _Lists":
    if pa.types.is_list(field.type):
        return _Lists(size)
    if pa.types.is_string(field.type):
        return _Own() if field.name in OWN else _Kinds()
    if pa.types.is_floating(field.type):
        return _Long(np.dtype(np.float64), size // LEAST)
    return _Whole(field.type, size // LEAST)


class _Long:
    """One array as long as the files allow, filled from its beginning: what is not written to takes no memory."""

    def __init__(self, kind: np.dtype, room: int) -> None:
        self._room, self._used = np.empty(room, kind), 0

    def add(self, part: pa.Array | np.ndarray) -> None:
        numbers = part if isinstance(part, np.ndarray) else part.to_numpy(zero_copy_only=False)
        self._room[self._used : self._used + len(numbers)] = numbers
        self._used += len(numbers)

    def whole(self) -> np.ndarray:
        return self._room[: self._used]


class _Whole:
    """Whole numbers and truths, None apart from 0 and False."""

    def __init__(self, kind: pa.DataType, room: int) -> None:
        self._type = np.dtype(bool) if pa.types.is_boolean(kind) else np.dtype(kind.to_pandas_dtype())
        self._numbers, self._missing = _Long(self._type, room), _Long(np.dtype(bool), room)

    def add(self, part: pa.Array) -> None:
        filler = False if self._type.kind == "b" else 0
        self._numbers.add(pc.fill_null(part, filler) if part.null_count else part)
        self._missing.add(part.is_null())

    def whole(self) -> ExtensionArray:
        kind = pd.arrays.BooleanArray if self._type.kind == "b" else pd.arrays.IntegerArray
        return kind(self._numbers.whole(), self._missing.whole())


class _Own:
    def __init__(self) -> None:
        self._parts: list[pa.Array] = []

    def add(self, part: pa.Array) -> None:
        self._parts.append(part.cast(pa.large_string()))

    def whole(self) -> ExtensionArray:
        whole = pa.chunked_array(self._parts, pa.large_string()).combine_chunks()
        self._parts = []
        give_back()
        return pd.array(whole, dtype="str")


class _Kinds:
    """A text that repeats: the number of its kind for each record."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._parts: list[np.ndarray] = []

    def add(self, part: pa.Array) -> None:
        told = part.dictionary_encode()
        kinds = told.dictionary.to_pylist()
        number = np.array([*(self._number.setdefault(k, len(self._number)) for k in kinds), -1])
        at = pc.fill_null(told.indices, len(kinds)).to_numpy(zero_copy_only=False)
        self._parts.append(number.astype(_smallest(len(self._number)))[at])

    def whole(self) -> pd.Categorical:
        kinds = sorted(self._number)
        place = np.full(len(kinds) + 1, -1)  # the last is that of −1, none
        place[[self._number[k] for k in kinds]] = np.arange(len(kinds))
        place = place.astype(_smallest(len(kinds)))
        codes = [place[part] for part in self._parts]
        self._parts = []
        return pd.Categorical.from_codes(
            np.concatenate([np.zeros(0, place.dtype), *codes]), categories=pd.Index(kinds, dtype="str")
        )


def _smallest(kinds: int) -> np.dtype:
    return np.dtype(np.int8 if kinds < 2**7 else np.int16 if kinds < 2**15 else np.int32)


class _Lists:
    def __init__(self, size: int) -> None:
        self._numbers = _Long(NUMBER, size // NUMBER.itemsize)
        self._lengths = _Long(np.dtype(np.int32), size // LEAST)

    def add(self, part: pa.ListArray) -> None:
        self._numbers.add(part.flatten())
        self._lengths.add(pc.fill_null(pc.list_value_length(part), 0))

    def whole(self) -> Gaps:
        return Gaps.one_after_another(self._lengths.whole(), self._numbers.whole())


def of_table(rows: pd.DataFrame) -> dict[str, Column]:
    """Its columns, which are not copied."""
    return {
        str(name): column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array
        for name, column in rows.items()
    }


def split(rows: dict[str, Column], by: Sequence[str], parts: Sequence[np.ndarray]) -> list[pd.DataFrame]:
    """Of each part (which rows are in it) a table, in the order of these columns; missing ones last, equals as they stand.

    Takes the columns out of `rows` one after another, so that the whole is never there twice where nobody else holds it.
    They are no table: a table makes itself anew for each column that is taken out of it.
    """
    order = np.lexsort([np.asarray(rows[name], float) for name in reversed(by)])
    taken = [order[part[order]] for part in parts]
    found: list[dict[str, Column]] = [{} for _ in parts]
    for name in list(rows):
        values = rows.pop(name)
        for columns, which in zip(found, taken, strict=True):
            columns[name] = values.take(which)
    return [pd.DataFrame(columns, copy=False) for columns in found]

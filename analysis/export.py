"""Exports a run's tables as Parquet or CSV: the recorded columns and the derived ones.

Tables are written slice by slice, so memory does not grow with the number of records.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from analysis.frames import Frames
from analysis.metrics import clocks
from analysis.progress import OnProgress, no_progress
from contract import samplers, spreadsheet
from contract.records import Offset
from contract.run import read_lines
from contract.schemas import REQUESTS

CSV, PARQUET = "csv", "parquet"
ROWS = 100_000  # of a slice; in Parquet a row group each
_TEXT = pa.string()
_EVENTS = pa.schema(
    [
        *((name, pa.float64()) for name in ("at", "late_ms")),
        *(
            (name, _TEXT)
            for name in ("run", "move", "stage", "by", "step", "fault", "target", "detail", "error", "file")
        ),
        ("trial", pa.int64()),
    ]
)
_COUNTERS = pa.schema(
    [("at", pa.float64()), *((name, _TEXT) for name in ("when", "source", "url", "counters", "error"))]
)
"""`detail` and `counters` are JSON text: their structure depends on the event or source."""


def export(frames: Frames, out: Path, forms: list[str], on_progress: OnProgress = no_progress) -> list[Path]:
    """Write every table of the run to the folder `out`, in each form (`csv`, `parquet`); returns the files.

    requests, classified, covered, warmup, one per sampler, events, clocks, counters, and ledger if engines kept one. An empty
    table is a file with its columns and no rows. None is null, in CSV an empty cell; a list in CSV is JSON text.
    """
    out.mkdir(parents=True, exist_ok=True)
    tables = list(_tables(frames))
    made, whole, done = [], sum(len(t) for _, t, _ in tables) * len(forms) or 1, 0
    for name, table, recorded in tables:
        schema = schema_of(table, recorded)
        for form in forms:
            path = out / f"{name}.{form}"
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.unlink(missing_ok=True)  # a link in a stranger's folder would be followed
            with _WRITERS[form](fresh, schema) as write:
                for first in range(0, len(table), ROWS):
                    on_progress(f"writing {path.name}", (done + first) / whole)
                    write(_slice(table.iloc[first : first + ROWS], schema))
            os.replace(fresh, path)
            done += len(table)
            made.append(path)
    return made


def _tables(frames: Frames) -> Iterator[tuple[str, pd.DataFrame, pa.Schema]]:
    """(name, table, types of the recorded columns)"""
    for name in ("requests", "classified", "covered", "warmup"):
        yield name, getattr(frames, name), REQUESTS
    for name, table in frames.samples.items():
        yield name, table, samplers.find(name).schema
    yield "events", _json_column(frames.events, "detail"), _EVENTS
    offsets = clocks.table(read_lines(frames.path / "clocks.jsonl", Offset)[0])
    yield "clocks", offsets, pa.schema([("worker", _TEXT)])
    counters = pd.DataFrame(frames.counters, columns=_COUNTERS.names)
    yield "counters", _json_column(counters, "counters"), _COUNTERS
    if frames.has_ledgers:
        parts = [table.assign(tier=tier) for tier, table in frames.ledgers.items()]
        whole = [p for p in parts if len(p)] or parts[:1]
        if whole:
            yield "ledger", pd.concat(whole).rename_axis("id").reset_index(), _LEDGER


_LEDGER = pa.schema([(n, _TEXT) for n in ("id", "line", "nonce", "how", "ending", "tier")])


def _json_column(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The column as JSON text. Only for small tables (events, scrapes), not for requests."""
    text = [None if _none(v) else json.dumps(v) for v in table[column]]
    return table.assign(**{column: pd.Series(text, table.index, dtype=object)})


def _none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def schema_of(table: pd.DataFrame, recorded: pa.Schema) -> pa.Schema:
    """The types of the table's columns: recorded ones as recorded, derived ones as pandas has them."""
    fields = []
    for name in table.columns:
        at = recorded.get_field_index(name)
        if at >= 0:
            fields.append(pa.field(name, recorded.field(at).type))
            continue
        kind = pa.Array.from_pandas(table[name].iloc[:0]).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        fields.append(
            pa.field(name, _TEXT if pa.types.is_large_string(kind) or pa.types.is_null(kind) else kind)
        )
    return pa.schema(fields)


def _slice(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pandas(rows, preserve_index=False).cast(schema).replace_schema_metadata(None)


class _Parquet:
    """Zstandard; keeps the recorded types."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = parquet.ParquetWriter(path, schema, compression="zstd")

    def __enter__(self) -> Callable[[pa.Table], None]:
        return self._write

    def _write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows)

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class _Csv:
    """Numbers in the shortest form that reads back exactly."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = pa.schema(
            [pa.field(f.name, _TEXT if pa.types.is_list(f.type) else f.type) for f in schema]
        )
        # A ledger's columns are named by the file, so a name is a text too.
        self._names = [spreadsheet.cell(name) for name in self._schema.names]
        self._writer = csv.CSVWriter(
            path, pa.schema([f.with_name(n) for f, n in zip(self._schema, self._names, strict=True)])
        )

    def __enter__(self) -> Callable[[pa.Table], None]:
        return self._write

    def _write(self, rows: pa.Table) -> None:
        lists = [i for i, f in enumerate(rows.schema) if pa.types.is_list(f.type)]
        for i in lists:
            rows = rows.set_column(i, rows.schema.field(i).name, list_as_json(rows.column(i)))
        rows = rows.cast(self._schema)
        for i, f in enumerate(rows.schema):
            if pa.types.is_string(f.type):
                rows = rows.set_column(i, f.name, _cells(rows.column(i)))
        self._writer.write_table(rows.rename_columns(self._names))

    def __exit__(self, *_: object) -> None:
        self._writer.close()


def _cells(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """As `spreadsheet.cell`, for a column."""
    marked = pc.and_(
        pc.match_substring_regex(texts, spreadsheet.BEGINS),
        pc.invert(pc.match_substring_regex(texts, spreadsheet.NUMBER)),
    )
    return pc.if_else(marked, pc.binary_join_element_wise(spreadsheet.MARK, texts, ""), texts)


def list_as_json(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """A list of numbers as `[20.5,19.8]`, of texts as `["language"]`; null stays null.

    Vectorized for numbers: there may be ten million records.
    """
    text = [
        pc.binary_join_element_wise("[", pc.binary_join(_members_as_text(chunk), ","), "]", "")
        for chunk in lists.chunks
    ]
    return pa.chunked_array(text, type=_TEXT)


def _members_as_text(lists: pa.ListArray) -> pa.ListArray:
    members = lists.flatten()
    if pa.types.is_string(members.type):  # of classified documents: few
        members = pa.array([json.dumps(text) for text in members.to_pylist()], _TEXT)
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    ends = pc.cumulative_sum(pc.cast(lengths, pa.int32()))
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    return pa.ListArray.from_arrays(
        offsets, pc.cast(members, _TEXT), mask=lists.is_null() if lists.null_count else None
    )


_WRITERS: dict[str, Any] = {CSV: _Csv, PARQUET: _Parquet}

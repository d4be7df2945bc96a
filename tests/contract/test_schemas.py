"""A record is declared once: the file's schema is made of its dataclass."""

from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa
import pytest

from contract.records import RequestRecord
from contract.schemas import REQUESTS, columns, schema


@dataclass
class Sampled:
    at: float
    tier: str
    waiting: Annotated[int, "int16"] | None
    up: bool | None
    gaps_ms: list[Annotated[float, "float32"]]
    wrong: list[str] | None


def test_a_field_has_the_column_of_its_type():
    assert schema(Sampled) == pa.schema(
        [
            pa.field("at", pa.float64(), nullable=False),
            pa.field("tier", pa.string(), nullable=False),
            pa.field("waiting", pa.int16()),
            pa.field("up", pa.bool_()),
            pa.field("gaps_ms", pa.list_(pa.float32()), nullable=False),
            pa.field("wrong", pa.list_(pa.string())),
        ]
    )


def test_a_new_record_is_written_and_read_by_its_declaration_alone():
    rows = [Sampled(1.0, "vllm", None, None, [0.5], None), Sampled(2.0, "vllm", 3, True, [], ["date"])]
    assert columns(rows, schema(Sampled)).to_pylist() == [vars(row) for row in rows]
    assert columns([], schema(Sampled)).num_rows == 0


def test_the_file_has_a_column_for_each_field():
    assert REQUESTS.names == list(RequestRecord.__dataclass_fields__)


@dataclass
class Nonsense:
    at: complex


def test_a_type_without_a_column_type_is_an_error():
    with pytest.raises(KeyError):
        schema(Nonsense)


def test_the_format_that_is_written_is_this_one():
    """Of these types the runs that were recorded so far are: another type is another FORMAT."""
    narrow = {f.name: str(f.type) for f in REQUESTS if str(f.type) not in ("string", "double", "bool")}
    assert narrow == {
        "status": "int16",
        "gaps_ms": "list<item: float>",
        "route_fallbacks": "int16",
        "route_retries": "int16",
        "prompt_tokens": "int32",
        "output_tokens": "int32",
        "max_tokens": "int32",
        "attempt": "int8",
        "wrong": "list<item: string>",
    }

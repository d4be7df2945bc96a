"""The Arrow schemas of a run's files, each derived from the dataclass of its records."""

import operator
from collections.abc import Sequence
from dataclasses import fields
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from contract.records import RequestRecord

_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int32(), float: pa.float64()}


def schema(record: type) -> pa.Schema:
    """One column for each field, in their order; a field that may be None is nullable."""
    hints = get_type_hints(record, include_extras=True)
    return pa.schema([_column(field.name, hints[field.name]) for field in fields(record)])


def columns(records: Sequence[Any], schema: pa.Schema) -> pa.RecordBatch:
    """Records of one of the dataclasses as a batch of its schema."""
    if not records:
        return pa.RecordBatch.from_pylist([], schema=schema)
    arrays = [pa.array(map(operator.attrgetter(f.name), records), type=f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(name: str, hint: Any) -> pa.Field:
    if get_origin(hint) not in (Union, UnionType):
        return pa.field(name, _type(hint), nullable=False)
    (inner,) = (each for each in get_args(hint) if each is not NoneType)
    return pa.field(name, _type(inner))


def _type(hint: Any) -> pa.DataType:
    """No dictionary types: one file has batches of several writers."""
    match get_origin(hint):
        case None:
            return _TYPES[hint]
        case origin if origin is list:
            return pa.list_(_type(*get_args(hint)))
        case origin if origin is Annotated:
            return pa.type_for_alias(get_args(hint)[1])
    raise TypeError(f"{hint} is not a column type")


REQUESTS = schema(RequestRecord)
"""Of requests.arrow and probe.arrow. Of samplers: `contract.sampler.Sampler.schema`."""

"""A column of number lists: rows can be filtered, sorted and sliced without copying the numbers.

Ten million answers have hundreds of millions of gaps between their chunks. An Arrow list column copies them with every
selection of rows; here a row is an offset and a length in one shared array.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray, ExtensionDtype, take

NUMBER = np.dtype("float32")
ROWS = 100_000  # processed at a time


class GapsDtype(ExtensionDtype):
    """The dtype of `Gaps`."""

    name = "gaps"
    type = object
    na_value = None

    @classmethod
    def construct_array_type(cls) -> Any:
        return Gaps

    def __hash__(self) -> int:
        return hash(self.name)


class Gaps(ExtensionArray):
    """A list of float32 for each row; it may be empty, but not missing."""

    def __init__(self, starts: np.ndarray, lengths: np.ndarray, numbers: np.ndarray) -> None:
        self.starts, self.lengths, self.numbers = starts, lengths, numbers

    @classmethod
    def one_after_another(cls, lengths: np.ndarray, numbers: np.ndarray) -> Self:
        """Rows whose numbers are stored in row order."""
        ends = np.cumsum(lengths, dtype=np.int64)
        return cls(ends - lengths, lengths, numbers)

    @property
    def in_order(self) -> bool:
        """Whether the numbers of these rows are contiguous and in row order."""
        return bool((self.starts[1:] == self.starts[:-1] + self.lengths[:-1]).all())

    def flat(self) -> np.ndarray:
        """The numbers of all rows, row after row. If they are in order this is a view: do not modify it."""
        if self.in_order:
            first = int(self.starts[0]) if len(self) else 0
            return self.numbers[first : first + int(self.lengths.sum())]
        return np.concatenate(list(self.parts()))

    def parts(self) -> Iterator[np.ndarray]:
        """The same, in parts of ROWS rows."""
        for i in range(0, len(self), ROWS):
            starts, lengths = self.starts[i : i + ROWS], self.lengths[i : i + ROWS]
            ends = np.cumsum(lengths, dtype=np.int64)
            at = np.repeat(starts - (ends - lengths), lengths)
            at += np.arange(len(at))
            yield self.numbers[at]

    def sums(self) -> np.ndarray:
        """The sum of each row."""
        found = np.zeros(len(self))
        for i, part in enumerate(self.parts()):
            lengths = self.lengths[i * ROWS : (i + 1) * ROWS]
            row = np.repeat(np.arange(len(lengths)), lengths)
            found[i * ROWS : i * ROWS + len(lengths)] = np.bincount(row, part, len(lengths))
        return found

    @property
    def dtype(self) -> GapsDtype:
        return GapsDtype()

    @property
    def nbytes(self) -> int:
        return int(self.starts.nbytes + self.lengths.nbytes + self.numbers.nbytes)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, item: Any) -> Any:
        item = pd.api.indexers.check_array_indexer(self, item)
        if isinstance(item, (int, np.integer)):
            return self.numbers[self.starts[item] : self.starts[item] + self.lengths[item]]
        return self._like(self.starts[item], self.lengths[item])

    def __eq__(self, other: object) -> Any:
        raise TypeError("lists of gaps are not compared")

    def isna(self) -> np.ndarray:
        return np.zeros(len(self), dtype=bool)

    def copy(self) -> Self:
        return self._like(self.starts.copy(), self.lengths.copy())

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> Self:
        starts, lengths = (
            np.asarray(take(of, np.asarray(indices), allow_fill=allow_fill, fill_value=0))
            for of in (self.starts, self.lengths)
        )
        return self._like(starts, lengths)

    def _like(self, starts: np.ndarray, lengths: np.ndarray) -> Self:
        return self.__class__(starts, lengths, self.numbers)

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> Self:
        lists = [np.asarray([] if x is None else x, dtype=NUMBER) for x in scalars]
        lengths = np.fromiter(map(len, lists), np.int32, len(lists))
        return cls.one_after_another(lengths, np.concatenate([np.zeros(0, NUMBER), *lists]))

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[Self]) -> Self:
        first = to_concat[0]
        lengths = np.concatenate([g.lengths for g in to_concat])
        if all(g.numbers is first.numbers for g in to_concat):
            return cls(np.concatenate([g.starts for g in to_concat]), lengths, first.numbers)
        return cls.one_after_another(lengths, np.concatenate([g.flat() for g in to_concat]))

    def __arrow_array__(self, type: Any = None) -> pa.Array:
        """As list<float32>, for export."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        offsets = np.concatenate([[0], ends]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(self.flat()))

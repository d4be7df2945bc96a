"""Thins a scatter plot: leaves out points that cannot be distinguished from others, and keeps every outlier. Pure.

Points are placed on a grid of pixels. For each group, one point of every occupied cell is kept, so that no isolated point
is lost, and the lowest and the highest of every column, so that the edge of the cloud is exact.
"""

import numpy as np


def kept(
    x: np.ndarray,
    y: np.ndarray,
    group: np.ndarray,
    columns: int,
    rows: int,
    always: np.ndarray | None = None,
) -> np.ndarray:
    """The indices to draw, ascending: at most (`rows` + 2) × `columns` of each group, and those of `always`.

    `group`: small integers, one for each colour or marker (negative ones are groups too). `always`: a mask of points that
    are always kept, such as failures. For a logarithmic axis pass the logarithm. A point that is nan or infinite cannot be
    drawn and is kept only by `always`. The result is deterministic.
    """
    x, y, group = np.asarray(x, float), np.asarray(y, float), np.asarray(group)
    drawn = np.zeros(len(x), dtype=bool) if always is None else np.array(always, dtype=bool)
    placed = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(placed):
        return np.flatnonzero(drawn)
    if len(placed) < len(x):
        x, y, group = x[placed], y[placed], group[placed]
    lowest = int(group.min())
    fits = (int(group.max()) - lowest + 1) * columns * rows < 2**31
    group = group.astype(np.int32 if fits else np.int64)
    strip = (group - lowest) * columns + _cells(x, columns)  # a column of one group
    drawn[placed[_first_of(strip * rows + _cells(y, rows))]] = True
    count = int(strip.max()) + 1
    for extreme, start in ((np.minimum, np.inf), (np.maximum, -np.inf)):
        reached = np.full(count, start)
        extreme.at(reached, strip, y)
        ends = np.flatnonzero(y == reached[strip])
        drawn[placed[ends[_first_of(strip[ends])]]] = True
    return np.flatnonzero(drawn)


def _cells(values: np.ndarray, count: int) -> np.ndarray:
    """Which of `count` equal parts of its span each value is in."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros(len(values), dtype=np.int32)
    # Halved first, since the span of the largest floats overflows. In place, since there may be ten million.
    part = values / 2
    part -= low / 2
    part /= high / 2 - low / 2
    part *= count
    return np.minimum(part.astype(np.int32), count - 1)


def _first_of(cell: np.ndarray) -> np.ndarray:
    """The index of the first point in each occupied cell. Of several writes to one index numpy keeps the last."""
    first = np.full(int(cell.max()) + 1, -1, dtype=np.int64)
    first[cell[::-1]] = np.arange(len(cell) - 1, -1, -1)
    return first[first >= 0]

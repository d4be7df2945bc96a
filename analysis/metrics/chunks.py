"""The gaps between the chunks of a streamed answer, and what delays chunks. Each docstring is the definition. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.columnar.lists import Gaps
from analysis.columnar.selection import counted
from analysis.metrics.latency import _streamed
from analysis.metrics.quantiles import QUANTILES, _ranks

CLUMPS_NEED = 20  # gaps


def chunk_gaps_ms(requests: pd.DataFrame) -> np.ndarray:
    """Of good streamed answers: the times between chunks with content or thoughts, all of them together.

    A long run has hundreds of millions of gaps: for quantiles use `chunk_gaps`, which does not copy them.
    """
    return _gaps(requests).flat()


@dataclass(frozen=True, slots=True)
class ChunkGaps:
    """The statistics of `chunk_gaps_ms`."""

    n: int
    ms: dict[str, float | None]  # as of `quantiles`
    mean_ms: float | None
    clumped: bool | None
    steps: tuple[np.ndarray, np.ndarray]  # in ms, to within a hundredth, and the share that is not longer


def chunk_gaps(requests: pd.DataFrame) -> ChunkGaps:
    """How many chunk gaps there are, their quantiles (exact, however many), their mean, and whether chunks came in clumps."""
    gaps = _gaps(requests)
    found = counted(gaps.parts, lambda n: [*_ranks(n), (n - 1) // 2, n // 2])
    if not found.n:
        return ChunkGaps(0, dict.fromkeys([*QUANTILES, "max"]), None, None, found.steps)
    *at, below, above = found.at
    return ChunkGaps(
        found.n,
        dict(zip([*QUANTILES, "max"], at, strict=True)),
        found.mean,
        _clumped(found.n, (below + above) / 2, found.mean),
        found.steps,
    )


def _gaps(requests: pd.DataFrame) -> Gaps:
    return requests.loc[_streamed(requests), "gaps_ms"].array


def clumped(gaps_ms: np.ndarray) -> bool | None:
    """Whether chunks came in clumps: the median gap is below a tenth of the mean. None below twenty gaps.

    An engine that generates one token at a time has a median near its mean. If several chunks arrive at once, most gaps
    are near 0 and the mean is unchanged: then the quantiles of gaps describe the clumps and not the tokens.
    """
    if len(gaps_ms) < CLUMPS_NEED:
        return None
    return _clumped(len(gaps_ms), float(np.median(gaps_ms)), float(gaps_ms.mean(dtype=np.float64)))


def _clumped(n: int, median_ms: float, mean_ms: float) -> bool | None:
    return None if n < CLUMPS_NEED else median_ms < mean_ms / 10


def clumping_cause(requests: pd.DataFrame) -> str | None:
    """What causes the clumps, in words; None if chunks do not come in clumps, or there are too few.

    The engine or the path, if clumps are in requests that no overloaded second of the client touched: its hub was on time. The
    client, if they are in touched requests only.
    """
    requests = requests[["good", "stream", "touched", "gaps_ms"]]
    touched = requests["touched"].to_numpy(bool)
    if chunk_gaps(requests[~touched]).clumped:
        return "caused by the engine or the path: the client was on time"
    if chunk_gaps(requests[touched]).clumped:
        return "caused by the client: seen only while it was overloaded"
    return None

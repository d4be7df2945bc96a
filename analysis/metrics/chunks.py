"""What comes between the chunks of a streamed answer, and who holds them back. Each docstring is the definition. Pure."""

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

    Of a long run these are hundreds of millions: who wants their quantiles requests `chunk_gaps`, which copies none.
    """
    return _gaps(requests).flat()


@dataclass(frozen=True, slots=True)
class ChunkGaps:
    """What `chunk_gaps_ms` are like."""

    n: int
    ms: dict[str, float | None]  # as of `quantiles`
    mean_ms: float | None
    clumped: bool | None
    steps: tuple[
        np.ndarray, np.ndarray
    ]  # in ms, to within a hundredth, and the share that is at most so long


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

    An engine that makes a token at a time has a median near its mean. Where several chunks arrive at once, most gaps
    are near nothing and the mean stays what it was: then the quantiles of gaps tell of the clumps, and not of tokens.
    """
    if len(gaps_ms) < CLUMPS_NEED:
        return None
    return _clumped(len(gaps_ms), float(np.median(gaps_ms)), float(gaps_ms.mean(dtype=np.float64)))


def _clumped(n: int, median_ms: float, mean_ms: float) -> bool | None:
    return None if n < CLUMPS_NEED else median_ms < mean_ms / 10


def who_clumps(requests: pd.DataFrame) -> str | None:
    """Whose doing the clumps are, in words; None where chunks do not come in clumps, or too few came.

    The engine's or the path's where they are there in requests that no overloaded second of the client touched: its hub was
    on time. The client's where they are seen in touched requests alone.
    """
    requests = requests[["good", "stream", "touched", "gaps_ms"]]
    touched = requests["touched"].to_numpy(bool)
    if chunk_gaps(requests[~touched]).clumped:
        return "the engine's or the path's doing: the client was on time"
    if chunk_gaps(requests[touched]).clumped:
        return "the client's doing: seen only while it was overloaded"
    return None

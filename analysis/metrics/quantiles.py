"""Quantiles of measured values, as tables and pages show them."""

import numpy as np
import pandas as pd

from contract.quantile import rank

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def quantiles(values: pd.Series) -> dict[str, float | None]:
    """p50, p95, p99 and the slowest; None without values. `contract.quantile.rank` defines a quantile."""
    known = values.to_numpy(float)
    known = known[~np.isnan(known)]
    if not len(known):
        return dict.fromkeys([*QUANTILES, "max"])
    ranks = _ranks(len(known))
    known.partition(ranks)
    return dict(zip([*QUANTILES, "max"], known[ranks].tolist(), strict=True))


def _ranks(n: int) -> list[int]:
    """The ranks of QUANTILES and of the slowest, from 0."""
    return [*(rank(n, q) for q in QUANTILES.values()), n - 1]


def quantile(values: np.ndarray, share: float) -> float:
    """One quantile of at least one value, without NaN."""
    at = rank(len(values), share)
    return float(np.partition(values, at)[at])

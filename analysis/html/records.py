"""The answers that the timeline draws, as columns of compact JSON; the page shows a record when the user points at it."""

from typing import Any

import numpy as np
import pandas as pd

TEXTS = (
    "scenario", "lane", "via", "tier", "outcome", "finish_reason", "witness", "route_group", "route_api_base", "worker",
)  # fmt: skip
COUNTS = ("status", "prompt_tokens", "output_tokens", "max_tokens", "route_fallbacks", "route_retries")
LENGTHS = ("headers_ms", "ttft_ms", "latency_ms")
MOST_ERRORS, LONGEST_ERROR = 2000, 240
ELSEWHERE = "(too many different errors for this page: see this request in requests.arrow)"


def records(requests: pd.DataFrame, started_at: float, lower: pd.DataFrame) -> dict[str, Any]:
    """Columns of these requests: `id`, `sent` (s since the run's start), `waited` (ms, scheduled → sent), and the record's columns.

    A text column is {"values": […], "at": […]}: for each request the index of its value, -1 for none. If all requests have the
    same index or the same number, the column is that single number. An unknown number is null.
    """
    sent = requests["sent_at"].to_numpy(float)
    found: dict[str, Any] = {
        "n": len(requests),
        "id": requests["request_id"].tolist(),
        "sent": np.round(sent - started_at, 3).tolist(),
        "waited": _numbers((requests["sent_at"] - requests["scheduled_at"]) * 1000, 0),
    }
    found |= {name: _numbers(requests[name], 1) for name in LENGTHS}
    found |= {name: _numbers(requests[name], 0) for name in COUNTS}
    found |= {name: _texts(requests[name]) for name in TEXTS}
    found["error"] = _texts(_errors(requests["error"]))
    why = lower.set_index("request_id")["why"] if len(lower) else pd.Series(dtype=object)
    found["why"] = _texts(requests["request_id"].map(why[~why.index.duplicated()]))
    return found


def _numbers(values: pd.Series, decimals: int) -> Any:
    known = np.round(values.to_numpy(dtype=float, na_value=np.nan), decimals)
    if len(known) and (np.isnan(known).all() or (known == known[0]).all()):
        return None if np.isnan(known[0]) else _plain(known[0], decimals)
    whole = known.astype(object)
    if not decimals:
        present = ~np.isnan(known)
        whole[present] = known[present].astype(int)
    whole[np.isnan(known)] = None
    return whole.tolist()


def _plain(value: float, decimals: int) -> float | int:
    return float(value) if decimals else int(value)


def _texts(values: pd.Series) -> dict[str, Any]:
    at, known = pd.factorize(values.astype(object))
    same = len(at) and (at == at[0]).all()
    return {"values": [str(v) for v in known], "at": int(at[0]) if same else at.tolist()}


def _errors(errors: pd.Series) -> pd.Series:
    """Shortened; if there are too many different ones, only the most frequent."""
    short = errors.astype(object).str.slice(0, LONGEST_ERROR)
    counts = short.value_counts()
    if len(counts) <= MOST_ERRORS:
        return short
    return short.where(short.isna() | short.isin(counts.index[:MOST_ERRORS]), ELSEWHERE)

"""The answers that the timeline draws, as columns of compact JSON: what a reader is shown when he points at one."""

from typing import Any

import numpy as np
import pandas as pd

TEXTS = (
    "scenario", "lane", "via", "tier", "outcome", "finish_reason", "witness", "route_group", "route_api_base", "worker",
)  # fmt: skip
COUNTS = ("status", "prompt_tokens", "output_tokens", "max_tokens", "route_fallbacks", "route_retries")
LENGTHS = ("headers_ms", "ttft_ms", "latency_ms")
MOST_ERRORS, LONGEST_ERROR = 2000, 240
ELSEWHERE = "(too many different errors to keep them all here: see this request in requests.arrow)"


def records(requests: pd.DataFrame, started_at: float, lower: pd.DataFrame) -> dict[str, Any]:
    """Of these requests: `id`, `sent` (s since the run's start), `waited` (ms, intended → sent), and the record's columns.

    A text is {"values": […], "at": […]}: at each ask the place of its value, -1 for none. Where all requests have the same
    place, or the same number, it stands there once and in no list. A number that nobody told is null.
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
        told = ~np.isnan(known)
        whole[told] = known[told].astype(int)
    whole[np.isnan(known)] = None
    return whole.tolist()


def _plain(value: float, decimals: int) -> float | int:
    return float(value) if decimals else int(value)


def _texts(values: pd.Series) -> dict[str, Any]:
    at, known = pd.factorize(values.astype(object))
    same = len(at) and (at == at[0]).all()
    return {"values": [str(v) for v in known], "at": int(at[0]) if same else at.tolist()}


def _errors(errors: pd.Series) -> pd.Series:
    """Shortened, and of very many different ones only the most frequent."""
    told = errors.astype(object).str.slice(0, LONGEST_ERROR)
    counts = told.value_counts()
    if len(counts) <= MOST_ERRORS:
        return told
    return told.where(told.isna() | told.isin(counts.index[:MOST_ERRORS]), ELSEWHERE)

"""How long answers took: in total, to the first token, to the first thought, per token. Each docstring is the definition. Pure."""

import numpy as np
import pandas as pd

from analysis.columnar.lists import Gaps


def latency_ms(requests: pd.DataFrame, of: str = "sent") -> pd.Series:
    """Of good answers: sent → the end of the exchange; or, of="scheduled", scheduled → the end.

    The second includes the time that a request waited to be sent: a closed loop sends nothing during a hang and hides it.
    """
    good = requests["good"]
    if of == "sent":
        return requests.loc[good, "latency_ms"]
    return (requests.loc[good, "ended_at"] - requests.loc[good, "scheduled_at"]) * 1000


def first_token_ms(requests: pd.DataFrame, of: str = "sent") -> pd.Series:
    """Of good answers: sent (or scheduled) → first chunk with content; of a plain answer, its whole body.

    A thought is not content: a reasoning model's first content comes after its thoughts. An answer without content is left out.
    """
    good = requests.loc[requests["good"] & requests["ttft_ms"].notna()]
    if of == "sent":
        return good["ttft_ms"]
    return good["ttft_ms"] + (good["sent_at"] - good["scheduled_at"]) * 1000


def until_first_ms(requests: pd.DataFrame) -> pd.Series:
    """Sent → the first token; of an answer that shows none, its end: its user had nothing before."""
    return requests["ttft_ms"].where(requests["ttft_ms"].notna(), requests["latency_ms"])


def ttft_ms(requests: pd.DataFrame) -> pd.Series:
    """Of good streamed answers: sent → first chunk with content (an empty role delta is not a token, a thought is not content).

    If a reasoning model spends its cap on hidden thoughts, there is no chunk with content: such an answer is good and has no
    TTFT (not a TTFT of 0).
    """
    return requests.loc[_streamed(requests), "ttft_ms"].dropna()


def first_thought_ms(requests: pd.DataFrame) -> pd.Series:
    """Of good streamed answers of reasoning models: sent → first chunk with thoughts; NaN for answers without any."""
    return requests.loc[_streamed(requests), "thought_ms"]


def _streamed(requests: pd.DataFrame) -> np.ndarray:
    """Which are good streamed answers."""
    return requests["good"].to_numpy(bool) & requests["stream"].to_numpy(bool)


def tpot_ms(requests: pd.DataFrame) -> pd.Series:
    """Of good streamed answers of two tokens or more: (last − first token) / (output_tokens − 1).

    Thoughts are tokens here, as they are in the usage. An answer that shows neither content nor thoughts has no TPOT.
    """
    shown = requests["ttft_ms"].notna().to_numpy() | requests["thought_ms"].notna().to_numpy()
    some = (requests["output_tokens"] > 1).to_numpy(bool, na_value=False) & shown
    rows = requests.loc[_streamed(requests) & some, ["gaps_ms", "output_tokens"]]
    gaps: Gaps = rows["gaps_ms"].array
    return pd.Series(gaps.sums() / (rows["output_tokens"].to_numpy(float) - 1), index=rows.index)


def latency_for_tokens_ms(requests: pd.DataFrame, tokens: int) -> tuple[pd.Series, bool]:
    """How long a good answer of `tokens` tokens takes from sent to its end, and whether that is only estimated.

    Measured if there are answers of exactly that length. Else estimated for each streamed answer: the time to its first
    token (or thought) plus (tokens − 1) times its TPOT.
    """
    exact = requests["good"].to_numpy(bool) & (requests["output_tokens"] == tokens).to_numpy(
        bool, na_value=False
    )
    if exact.any():
        return requests.loc[exact, "latency_ms"], False
    tpot = tpot_ms(requests)
    rows = requests.loc[tpot.index]
    return (rows["first_at"] - rows["sent_at"]) * 1000 + (tokens - 1) * tpot, True

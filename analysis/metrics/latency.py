"""How long answers took: the whole of them, their first token, their first thought, each token. Each docstring is the definition. Pure."""

import numpy as np
import pandas as pd

from analysis.columnar.lists import Gaps


def latency_ms(asks: pd.DataFrame, of: str = "sent") -> pd.Series:
    """Of good answers: sent → the end of the exchange; or, of="intended", intended → the end.

    The second holds what an ask waited before it could be sent: a closed loop falls silent during a hang and hides it.
    """
    good = asks["good"]
    if of == "sent":
        return asks.loc[good, "latency_ms"]
    return (asks.loc[good, "ended_at"] - asks.loc[good, "intended_at"]) * 1000


def first_token_ms(asks: pd.DataFrame, of: str = "sent") -> pd.Series:
    """Of good answers: sent (or intended) → first chunk with content; of a plain answer, its whole body.

    A thought is no content: a reasoning model's first content comes when it has thought. One that shows no content has none,
    and is left out.
    """
    good = asks.loc[asks["good"] & asks["ttft_ms"].notna()]
    if of == "sent":
        return good["ttft_ms"]
    return good["ttft_ms"] + (good["sent_at"] - good["intended_at"]) * 1000


def until_first_ms(asks: pd.DataFrame) -> pd.Series:
    """Sent → the first token; of an answer that shows none, its end: sooner its user had nothing."""
    return asks["ttft_ms"].where(asks["ttft_ms"].notna(), asks["latency_ms"])


def ttft_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers: sent → first chunk with content (an empty role delta is not a token, a thought is no content).

    A reasoning model that spent its cap on thoughts which are not shown has no first chunk with content: such an answer is
    good, and has no TTFT, which is not 0.
    """
    return asks.loc[_streamed(asks), "ttft_ms"].dropna()


def first_thought_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers of reasoning models: sent → first chunk with thoughts; NaN of answers without any."""
    return asks.loc[_streamed(asks), "thought_ms"]


def _streamed(asks: pd.DataFrame) -> np.ndarray:
    """Which are good streamed answers."""
    return asks["good"].to_numpy(bool) & asks["stream"].to_numpy(bool)


def tpot_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers of two tokens or more: (last − first token) / (output_tokens − 1).

    Thoughts are tokens here, as they are in the usage. An answer that shows neither content nor thoughts has none.
    """
    shown = asks["ttft_ms"].notna().to_numpy() | asks["thought_ms"].notna().to_numpy()
    some = (asks["output_tokens"] > 1).to_numpy(bool, na_value=False) & shown
    rows = asks.loc[_streamed(asks) & some, ["gaps_ms", "output_tokens"]]
    gaps: Gaps = rows["gaps_ms"].array
    return pd.Series(gaps.sums() / (rows["output_tokens"].to_numpy(float) - 1), index=rows.index)


def latency_for_tokens_ms(asks: pd.DataFrame, tokens: int) -> tuple[pd.Series, bool]:
    """How long a good answer of so many tokens takes from sent to its end, and whether that is only estimated.

    Measured where answers of exactly so many tokens are there; else, for each streamed answer, the time to its first token
    (be it a thought) plus (tokens − 1) times its TPOT: estimated.
    """
    exact = asks["good"].to_numpy(bool) & (asks["output_tokens"] == tokens).to_numpy(bool, na_value=False)
    if exact.any():
        return asks.loc[exact, "latency_ms"], False
    tpot = tpot_ms(asks)
    rows = asks.loc[tpot.index]
    return (rows["first_at"] - rows["sent_at"]) * 1000 + (tokens - 1) * tpot, True

"""Sides with known values, without runs: a comparison must find exactly the differences that are put in here."""

from collections.abc import Sequence

import numpy as np

from analysis.compare import samples
from analysis.compare.estimate import Number, Proportion, Sample, Side, Trials

CONDITIONS: dict[str, dict[str, object]] = {
    "topology": {"tiers": "vllm → ollama"},
    "prompts": {"chat.max_tokens": "32", "chat.median_prompt_tokens": [190.0, 230.0]},
    "load": {"users": 6, "recorded_s": 200.0},
    "timeline": {"step gone": "scale_to_zero vllm at 8s for 6s"},
    "versions": {"gateway": "1.106.0"},
}


def latencies(seed: int, more_ms: float = 0.0, blocks: int = 40, each: int = 15) -> list[Sample]:
    """Latencies of a gateway with correlated answers: all requests in a block of time share its delay."""
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(blocks), each)
    shared = rng.gamma(4.0, 10.0, blocks)[block]
    ms = 200 + shared + rng.gamma(2.0, 30.0, len(block)) + more_ms
    at = ("p50", "p95", "p99")
    return [*samples._quantiles("vllm", "gateway", "latency", ms, block, 0, at)]


def trials(values: Sequence[float], metric: str = "failover", censored: Sequence[int] = ()) -> Sample:
    """`censored`: indices of values that are lower bounds."""
    number = Trials(tuple(map(float, values)), tuple(i in censored for i in range(len(values))))
    return Sample(metric, "median", "gone", "", "s", number)


def share(hits: int, total: int, effect: float = 1.0, doubtful: int = 0) -> Sample:
    return Sample(
        "continuity", "share", "all tiers", "gateway", "share", Proportion(hits, total, effect, doubtful)
    )


def of(number: Number, metric: str = "latency", statistic: str = "p50") -> Sample:
    return Sample(metric, statistic, "vllm", "gateway", "ms", number)


def side(name: str, *given: Sample, **topics: dict[str, object]) -> Side:
    """`topics`: differences from CONDITIONS."""
    conditions = {k: {**v, **topics.get(k, {})} for k, v in CONDITIONS.items()}
    return Side(name, conditions, (), ("vllm", "ollama"), tuple(given))

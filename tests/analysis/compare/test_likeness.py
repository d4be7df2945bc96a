"""The conditions of two runs: random variation is not a difference."""

import numpy as np
import pandas as pd
import pytest

from analysis.compare import likeness


def prompts(lengths) -> dict:
    rows = pd.DataFrame({"scenario": "chat", "max_tokens": 32, "prompt_tokens": lengths})
    return {"prompts": likeness._prompts(rows.astype({"prompt_tokens": "Int32"}))}


def drawn(seed: int, count: int, more: float = 1.0) -> np.ndarray:
    """As a scenario draws them: some short, some long."""
    return np.random.default_rng(seed).choice([60, 120, 250, 400, 900], count) * more // 1


@pytest.mark.parametrize("count", [5, 60, 120, 5_000])
def test_two_draws_of_the_same_prompts_are_alike(count):
    for seed in range(20):
        assert not likeness.unlike(prompts(drawn(seed, count)), prompts(drawn(seed + 100, count)))


def test_prompts_of_twice_the_length_are_not():
    (found,) = likeness.unlike(prompts(drawn(1, 5_000)), prompts(drawn(2, 5_000, more=2.0)))
    assert found.text == "prompts: chat.median_prompt_tokens: 250 to 250 and 500 to 500"


def test_unknown_prompt_lengths_are_not_like_known_ones():
    assert likeness.unlike(prompts([pd.NA] * 9), prompts(drawn(1, 9)))

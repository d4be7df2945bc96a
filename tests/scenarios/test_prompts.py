"""Prompts are reproducible, have the given length, and request more than any cap allows."""

import random

import pytest

from contract.tokens import approximate
from scenarios.gateway.prompts import prompt


@pytest.mark.parametrize("tokens", [20, 21, 22, 50, 100, 400, 4000])
def test_a_prompt_has_the_given_length(tokens):
    for seed in range(20):
        assert approximate(prompt(random.Random(seed), tokens)) == pytest.approx(tokens, abs=3)


def test_a_prompt_is_never_shorter_than_its_demand():
    text = prompt(random.Random(1), 0)
    assert text.startswith("Write a book")


def test_the_same_seed_draws_the_same_prompts_and_another_draws_others():
    def three(seed):
        rng = random.Random(seed)
        return [prompt(rng, 60) for _ in range(3)]

    assert three(1) == three(1)
    assert len({*three(1), *three(2)}) == 6


def test_every_prompt_ends_in_a_demand_for_more_than_any_cap():
    for seed in range(10):
        assert prompt(random.Random(seed), 80).endswith(
            "at least ten thousand words, all chapters, without stopping."
        )

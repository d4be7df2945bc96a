"""A prompt of a requested length, the engine that counts it and the answer that it gives agree on what a token is."""

from random import Random

import pytest

from contract.tokens import approximate, pieces
from embedded.engine import words
from embedded.engine.completion_request import read_chat
from scenarios.gateway import prompts

TEXTS = [
    "",
    "two words",
    "a\n\n  b ",
    "internationalisation",
    '{"title": "Rechnung 2024-05"}',
    "é…",
    "=" * 20,
    " \n",
    "日本語",
]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("rivers", 1),
        ("two words", 2),
        ("two  words, and a mark.", 7),
        ("internationalisation", 3),  # eight letters each
        ('"title": "x"', 6),  # marks that stand together are one
        ("2024-05", 3),
        ("=" * 20, 3),
        ("x" * 1000, 125),
    ],
)
def test_a_token_is_a_short_word_or_marks_that_stand_together(text, tokens):
    assert approximate(text) == len(pieces(text)) == tokens


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_of_a_text_are_the_text(text):
    assert "".join(pieces(text)) == text


def test_what_an_engine_draws_as_one_token_is_one():
    drawn = [words.word(Random(7), position) for position in range(50)]
    assert pieces("".join(drawn)) == drawn
    assert all(approximate(word) == 1 for word in words.WORDS)


@pytest.mark.parametrize("tokens", [20, 100, 400, 4000])
def test_an_engine_counts_as_many_tokens_as_the_scenario_requested(tokens):
    text = prompts.prompt(Random(1), tokens)
    request = read_chat({"model": "m", "messages": [{"role": "user", "content": text}]})
    assert request.prompt_tokens == approximate(text) == pytest.approx(tokens, abs=3)

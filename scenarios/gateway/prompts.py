"""Seeded prompts of a given length, each requesting a text far longer than any cap. Pure; uses no tokenizer.

Lengths are in tokens as `contract/tokens.py` counts them: the words here are short and common, one token each. The
actual length of a prompt is in its record, from the engine's usage.
"""

import random

from contract.tokens import approximate

_TOPICS = "rivers bridges winter bread clocks gardens ships music maps stone trains birds".split()  # noqa: SIM905
_WORDS = (  # noqa: SIM905  one word per line would fill a page
    "the a one each old new small long open quiet early late red green road house field hill water light "
    "wind door table paper letter hand voice story morning evening city village north south day year people "
    "child teacher farmer walks holds makes finds takes brings keeps turns reads writes from with over under "
    "near after before while and then again"
).split()
_SENTENCE_WORDS = (6, 14)


def prompt(rng: random.Random, tokens: int) -> str:
    """About `tokens` tokens: filler, then the instruction. Never shorter than the instruction alone."""
    instruction = f"Write a book about {rng.choice(_TOPICS)}, at least ten thousand words, all chapters, without stopping."
    return " ".join([*_notes(rng, tokens - approximate(instruction)), instruction])


def _notes(rng: random.Random, tokens: int) -> list[str]:
    sentences: list[str] = []
    left = tokens
    while left > 1:
        count = min(left - 1, rng.randint(*_SENTENCE_WORDS))
        sentences.append(" ".join(rng.choices(_WORDS, k=count)).capitalize() + ".")
        left -= count + 1
    return sentences

"""What a token is where no tokenizer is at hand: prompts of a wanted length, simulated engines, answers in pieces. Pure.

What an answer really came to is its usage, which the server returns; nothing here stands in for a usage that is missing.
"""

import re

_PIECE = re.compile(r"\s*(?:\w{1,8}|[^\w\s]{1,8})|\s+")


def pieces(text: str) -> list[str]:
    """The text, token by token: up to eight letters or digits, or up to eight marks, each with the space before it.

    The usual tokenizers have a token for a short common word, several for a long one, and one for marks that stand
    together.
    """
    return _PIECE.findall(text)


def approximate(text: str) -> int:
    """How many tokens a text is, about."""
    return len(pieces(text))

"""Approximate tokens without a tokenizer: prompts of a given length, simulated engines, answers in pieces. Pure.

The tokens of a real answer are in the usage that the server returns; nothing here replaces a missing usage.
"""

import re

_PIECE = re.compile(r"\s++(?:\w{1,8}|[^\w\s]{1,8})?|\w{1,8}|[^\w\s]{1,8}")


def pieces(text: str) -> list[str]:
    """The text, token by token: up to eight letters or digits, or up to eight marks, each with the space before it.

    Common tokenizers use one token for a short common word, several for a long one, and one for adjacent marks.
    """
    return _PIECE.findall(text)


def approximate(text: str) -> int:
    """The approximate number of tokens of a text."""
    return len(pieces(text))

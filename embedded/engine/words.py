"""The text of an answer. No I/O.

Common English words: each is one token (`contract/tokens.py`), for the usual tokenizers too, so a gateway's token count
of the text equals the engine's.
"""

from random import Random

_TEXT = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which
one you were her all she there would their we him been has when who will more no if out so said what up its
about into than them can only other new some could time these two may then do first any my now such like our
over man me even most made after also did many before must through back years where much your way well down
"""
WORDS = tuple(_TEXT.split())


def word(chance: Random, position: int) -> str:
    """One token of an answer; every word but the first has a leading space."""
    drawn = WORDS[int(chance.random() * len(WORDS))]
    return drawn if position == 0 else " " + drawn

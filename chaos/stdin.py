"""Keeps standard input for this process: a kubeconfig's credential plugin would inherit it and read the parent's messages."""

import os
import sys
from typing import TextIO


def own_stdin() -> TextIO:
    """Return the original standard input; processes started from now on get an empty one."""
    number = sys.stdin.fileno()
    kept = os.fdopen(os.dup(number))  # no child inherits this one
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, number)
    os.close(empty)
    return kept

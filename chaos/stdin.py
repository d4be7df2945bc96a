"""A standard input that is this process's alone: a credential plugin of a kubeconfig inherits it, and would read the lines
that its parent sends to us."""

import os
import sys
from typing import TextIO


def own_stdin() -> TextIO:
    """The standard input as it was; whoever is started from now on gets an empty one."""
    number = sys.stdin.fileno()
    kept = os.fdopen(os.dup(number))  # no child inherits this one
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, number)
    os.close(empty)
    return kept

"""The project's own files as syntax trees: each is parsed once, however many rules look at it."""

import ast
import functools
from pathlib import Path


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of them, as `ast.walk` finds them."""
    return tuple(ast.walk(tree(path)))

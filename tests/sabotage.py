"""A program of the project with an error in it: a real process whose code is changed as it is imported."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
SITE = """
import importlib.abc
import importlib.util
import sys

class Changed(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        original = spec.loader.exec_module
        def exec_module(module):
            original(module)
            exec({code!r}, module.__dict__)
        spec.loader.exec_module = exec_module
        return spec

if set({words!r}) <= set(sys.orig_argv):
    sys.meta_path.insert(0, Changed())
"""


def environment(folder: Path, words: Sequence[str], module: str, code: str) -> dict[str, str]:
    """For a program and its children: where all `words` are on the command line, `code` runs in `module` after its import."""
    (folder / "sitecustomize.py").write_text(SITE.format(module=module, code=code, words=list(words)))
    return os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}


def run(env: dict[str, str], *argv: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """`python -m ARGV`, with both outputs as one text."""
    return subprocess.run(
        [sys.executable, "-m", *argv], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=timeout,
    )  # fmt: skip

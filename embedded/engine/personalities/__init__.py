"""One engine a file; the file's name is the word after --personality, and it names its class PERSONALITY."""

from importlib import import_module
from pathlib import Path

from embedded.engine.personality import Personality


def load() -> dict[str, type[Personality]]:
    names = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))
    return {name: import_module(f"{__name__}.{name}").PERSONALITY for name in names}

"""One engine per file. The file's name is the value of --personality; the file defines its class as PERSONALITY."""

from importlib import import_module
from pathlib import Path

from embedded.engine.personality import Personality


def load() -> dict[str, type[Personality]]:
    names = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))
    return {name: import_module(f"{__name__}.{name}").PERSONALITY for name in names}

"""The catalogue: one fault a file; the file's name is the word after "fault", and it names its class FAULT."""

from importlib import import_module
from pathlib import Path

from embedded.engine.fault import Fault


def load() -> dict[str, type[Fault]]:
    names = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))
    return {name: import_module(f"{__name__}.{name}").FAULT for name in names}

"""The catalogue: one fault per file. The file's name is the fault's name; the file defines its class as FAULT."""

from importlib import import_module
from pathlib import Path

from embedded.engine.fault import Fault


def load() -> dict[str, type[Fault]]:
    names = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))
    return {name: import_module(f"{__name__}.{name}").FAULT for name in names}

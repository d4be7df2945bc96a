"""The catalogue of samplers: one file for each table that is sampled during a run, found by file name.

A file defines `SAMPLER`, a `contract.sampler.Sampler`. Its name is also the name of `<name>.arrow` in the run folder, of the
table in an export, and of the table in the analysis (`frames.samples[name]`). To add a sampler, add a file; `health.py` is
the example.
"""

import importlib
import pkgutil
from pathlib import Path

import pyarrow as pa

from contract.run import ArrowFile, read_arrow
from contract.sampler import Process, Sampler


def names() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def find(name: str) -> Sampler:
    """The name must be one of `names`."""
    found: Sampler = importlib.import_module(f"{__name__}.{name}").SAMPLER
    return found


def every(*processes: Process) -> dict[str, Sampler]:
    """By name, the samplers of these processes; without arguments all."""
    found = {name: find(name) for name in names()}
    return {name: s for name, s in found.items() if not processes or s.process in processes}


def file(name: str) -> str:
    """The sampler's file in a run folder."""
    return f"{name}.arrow"


def create(folder: Path, name: str) -> ArrowFile:
    """Create its file in this run folder, open for rows. Raises OSError."""
    return ArrowFile(folder / file(name), find(name).schema)


def read(folder: Path, name: str) -> tuple[pa.Table, bool]:
    """Its rows in this run folder, and whether the file's tail was torn; see `contract.run.read_arrow`."""
    return read_arrow(folder / file(name), find(name).schema)

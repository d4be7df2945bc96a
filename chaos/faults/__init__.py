"""The catalogue of faults, found by file name."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from chaos.fault import Fault
from chaos.kube.cluster import Cluster
from chaos.target import Target


def names() -> list[str]:
    """The fault names that a timeline may use."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def find(name: str) -> ModuleType:
    """The driver's module, with its `FAULT`; the name must be one of `names`."""
    return importlib.import_module(f"{__name__}.{name}")


def driver(name: str) -> type[Fault]:
    """The driver's class."""
    found: type[Fault] = find(name).FAULT
    return found


def make(name: str, cluster: Cluster | None, target: Target, options: dict[str, Any]) -> Fault:
    """A driver for one target, from a plan or an undo record; its options must already be valid."""
    kind = driver(name)
    return kind(cluster, target, kind.options.model_validate(options))

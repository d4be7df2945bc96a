"""A restore by another process that has only a fault's record."""

import os
import time
from typing import Any

from chaos import faults
from chaos.errors import NotYet
from chaos.kube.cluster import Cluster
from chaos.undo.journal import Undo
from tests.chaos.plain import FAULTS

WITHIN_S = 100.0


def restored(record: str, environ: dict[str, str], folder: str = FAULTS) -> dict[str, Any] | None:
    """Restore until it is verified; returns what was seen. None: not in time. `folder`: faults outside the catalogue."""
    os.environ.update(environ)
    if folder not in faults.__path__:
        faults.__path__.append(folder)
    undo = Undo.of_json(record)
    cluster = Cluster(undo.kubeconfig) if undo.target_handle.on_cluster else None
    fault = faults.make(undo.fault, cluster, undo.made_on, undo.options)
    over = time.monotonic() + WITHIN_S
    while time.monotonic() < over:
        fault.restore(undo.state)
        try:
            seen = fault.restored(undo.state)
        except NotYet:
            seen = None
        if seen is not None:
            return seen
        time.sleep(0.05)
    return None

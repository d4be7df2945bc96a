"""The Lease of a target: lock and undo record at once, in the target's own namespace.

Written before the inject, deleted after the verified mend. A second experiment finds it and is refused with the
holder's name; a mender on another machine needs nothing else.
"""

import datetime
import json
from dataclasses import asdict
from typing import Any

from kubernetes.client.exceptions import ApiException

from chaos.cluster import Cluster
from chaos.fault import CannotInject
from chaos.journal import Undo

LABEL = "app.kubernetes.io/managed-by=brownout"
_UNDO = "brownout.dev/undo"
_DEADLINE = "brownout.dev/deadline"


def name_of(handle: str) -> str:
    return "brownout-" + handle.replace("/", "-")


def must_be_free(cluster: Cluster, handle: str) -> None:
    """Raises CannotInject, naming the holder, where somebody has the target."""
    held = cluster.lease(handle.split("/")[0], name_of(handle))
    if held is not None:
        raise CannotInject(_held_by(handle, held["spec"].get("holderIdentity")))


def take(cluster: Cluster, undo: Undo, now: float) -> dict[str, Any]:
    """Take the target. Raises CannotInject, naming the holder, where somebody has it."""
    namespace = undo.handle.split("/")[0]
    key, _, value = LABEL.partition("=")
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name_of(undo.handle),
            "labels": {key: value},
            "annotations": {_UNDO: json.dumps(asdict(undo)), _DEADLINE: f"{undo.deadline:.3f}"},
        },
        "spec": {
            "holderIdentity": f"{undo.holder} ({undo.run})",
            "leaseDurationSeconds": max(1, round(undo.deadline - now)),
            "acquireTime": datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="microseconds")
            .replace("+00:00", "Z"),
        },
    }  # fmt: skip
    try:
        return cluster.create_lease(namespace, body)
    except ApiException as e:
        if e.status != 409:
            raise
    held = cluster.lease(namespace, name_of(undo.handle))
    holder = held["spec"].get("holderIdentity") if held else "someone who has just left"
    raise CannotInject(_held_by(undo.handle, holder))


def release(cluster: Cluster, undo: Undo, uid: str) -> None:
    """Give the target back, after its verified mend."""
    cluster.delete_lease(undo.handle.split("/")[0], name_of(undo.handle), uid)


def _held_by(handle: str, holder: str | None) -> str:
    return f"{handle} is held by {holder}; if that run is dead, run make restore"


def undo_in(lease: dict[str, Any]) -> Undo:
    """The undo record that a Lease carries."""
    return Undo(**json.loads(lease["metadata"]["annotations"][_UNDO]))

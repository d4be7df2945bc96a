"""The Lease of a cluster's target: lock and undo record at once, in the target's own namespace.

Written before the inject, deleted after the verified restore. A second experiment finds it and is refused with the
holder's name; who restores on another machine needs nothing else.
"""

import datetime
from typing import Any

from chaos import faults
from chaos.errors import CannotInject
from chaos.kube.cluster import Cluster
from chaos.kube.names import LABEL, name_of
from chaos.kube.right import Right
from chaos.undo.journal import Undo
from contract import handles

_UNDO = "brownout.dev/undo"
_DEADLINE = "brownout.dev/deadline"


def namespace_of(kind: str, handle: str) -> str:
    """Of a handle of the cluster's, by kind and name."""
    lock_in = handles.find(kind).lock_in
    assert lock_in is not None, "a Lease is of a cluster's handle"
    return lock_in(handle)


def rights(kind: str, handle: str) -> list[Right]:
    """What the cluster must allow, so that the Lease can be taken, given back, and found by a restore from elsewhere."""
    where, name = namespace_of(kind, handle), name_of(kind, handle)
    group = "coordination.k8s.io"
    found = [Right(v, group, "leases", where, name) for v in ("get", "delete")]
    return [*(Right(v, group, "leases", where) for v in ("create", "list")), *found]


def read(cluster: Cluster, undo: Undo) -> dict[str, Any] | None:
    """The target's Lease, whosever it is."""
    return cluster.lease(namespace_of(undo.kind, undo.handle), name_of(undo.kind, undo.handle))


def take(cluster: Cluster, undo: Undo, now: float) -> str | None:
    """Take the target: the uid of the Lease; None: somebody has it. Raises CannotInject where the cluster kept another record
    than was sent: who restores from it would be misled."""
    key, _, value = LABEL.partition("=")
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name_of(undo.kind, undo.handle),
            "labels": {key: value},
            "annotations": _annotations(undo),
        },
        "spec": {
            "holderIdentity": _holder(undo),
            "leaseDurationSeconds": max(1, round(undo.deadline - now)),
            "acquireTime": instant(now),
        },
    }
    made = cluster.create_lease(namespace_of(undo.kind, undo.handle), body)
    if made is None:
        return None
    uid = str(made["metadata"]["uid"])
    if not whole(made, undo):
        release(cluster, undo, uid)
        raise CannotInject(
            f"the cluster's admission (a policy or webhook) changed the Lease of {undo.handle}: its undo record is not "
            "what was written; exempt the Leases of brownout"
        )
    return uid


def carries(lease: dict[str, Any], undo: Undo) -> bool:
    """Whether a Lease holds the target for this very fault. One whose record somebody has spoiled is known by its holder."""
    try:
        return undo_in(lease).same_fault(undo)
    except ValueError:
        return bool((lease.get("spec") or {}).get("holderIdentity") == _holder(undo))


def taken_at(lease: dict[str, Any]) -> float:
    """In unix seconds."""
    return unix(lease["spec"].get("acquireTime")) or unix(lease["metadata"].get("creationTimestamp"))


def whole(lease: dict[str, Any], undo: Undo) -> bool:
    """Whether it carries this very record, and is found by who looks for records."""
    key, _, value = LABEL.partition("=")
    if (lease["metadata"].get("labels") or {}).get(key) != value:
        return False  # the reaper would not find it
    try:
        return undo_in(lease) == undo
    except ValueError:
        return False


def rewrite(cluster: Cluster, undo: Undo) -> None:
    """Write the record anew into the target's own Lease. Raises API_ERRORS, and ValueError where the Lease is not this fault's,
    or was written meanwhile."""
    found = read(cluster, undo)
    if found is None or not carries(found, undo):
        raise ValueError(f"the Lease of {undo.handle} is not ours")
    key, _, value = LABEL.partition("=")
    labels = (found["metadata"].get("labels") or {}) | {key: value}
    annotations = (found["metadata"].get("annotations") or {}) | _annotations(undo)
    spec = {**found["spec"], "leaseDurationSeconds": max(1, round(undo.deadline - taken_at(found)))}
    meta = {**found["metadata"], "labels": labels, "annotations": annotations}
    fresh = {**found, "metadata": meta, "spec": spec}
    if cluster.replace_lease(fresh) is None:
        raise ValueError(f"the Lease of {undo.handle} was written meanwhile")


def release(cluster: Cluster, undo: Undo, uid: str) -> None:
    """Give the target back, after its verified restore."""
    cluster.delete_lease(namespace_of(undo.kind, undo.handle), name_of(undo.kind, undo.handle), uid)


def undo_in(lease: dict[str, Any]) -> Undo:
    """The undo record that a Lease carries. Raises ValueError where it carries none that may be acted on.

    Whoever may write Leases could have a restorer do what the record says: it must be of the Lease's own target, and of
    a fault of the cluster's. A record with commands in it is never one of those.
    """
    meta = lease["metadata"]
    text = (meta.get("annotations") or {}).get(_UNDO)
    if text is None:
        raise ValueError(f"the Lease {meta['name']} carries no undo record")
    undo = Undo.of_json(text)
    if undo.fault not in faults.names() or undo.kind not in faults.driver(undo.fault).kinds:
        raise ValueError(f"the Lease {meta['name']}: its record names an unknown fault: {undo.fault}")
    own = (meta["namespace"], meta["name"])
    if not undo.target_handle.on_cluster or own != (
        namespace_of(undo.kind, undo.handle),
        name_of(undo.kind, undo.handle),
    ):
        raise ValueError(f"the Lease {meta['name']}: its record is of another target: {undo.target_handle}")
    return undo


def _annotations(undo: Undo) -> dict[str, str]:
    return {_UNDO: undo.to_json(), _DEADLINE: f"{undo.deadline:.3f}"}


def _holder(undo: Undo) -> str:
    return f"{undo.holder} ({undo.run})"


def unix(instant: str | None) -> float:
    """A MicroTime or a Time of the API in unix seconds; 0.0 where there is none."""
    return datetime.datetime.fromisoformat(instant.replace("Z", "+00:00")).timestamp() if instant else 0.0


def instant(at: float) -> str:
    """A MicroTime as the API has it."""
    found = datetime.datetime.fromtimestamp(at, datetime.UTC)
    # The client writes a fraction of nothing as none at all, which the API server takes for no MicroTime.
    text = found.replace(microsecond=found.microsecond or 1).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")

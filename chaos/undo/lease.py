"""The Lease of a cluster's target: lock and undo record in one, in the target's own namespace.

Written before the inject, deleted after the verified restore. A second experiment finds it and is refused with the
holder's name. A restore on another machine needs nothing else.
"""

import datetime
from typing import Any

from pydantic import ValidationError

from chaos import faults
from chaos.errors import CannotInject
from chaos.kube.answers import line
from chaos.kube.cluster import Cluster
from chaos.kube.names import LABEL, name_of
from chaos.kube.right import Right
from chaos.undo import signature
from chaos.undo.journal import Undo, first_error
from chaos.undo.signature import Keys
from contract import handles

_UNDO = "brownout.dev/undo"
_DEADLINE = "brownout.dev/deadline"
_SIGNATURE = "brownout.dev/signature"


def namespace_of(kind: str, handle: str) -> str:
    """The namespace of the Lease of a cluster's handle, by kind and name."""
    lock_in = handles.find(kind).lock_in
    assert lock_in is not None, "a Lease is of a cluster's handle"
    return lock_in(handle)


def rights(kind: str, handle: str) -> list[Right]:
    """The rights to take, release and find the Lease, also from another machine."""
    where, name = namespace_of(kind, handle), name_of(kind, handle)
    group = "coordination.k8s.io"
    found = [Right(v, group, "leases", where, name) for v in ("get", "delete")]
    return [*(Right(v, group, "leases", where) for v in ("create", "list")), *found, signature.right(where)]


def read(cluster: Cluster, undo: Undo) -> dict[str, Any] | None:
    """The target's Lease, of any holder."""
    return cluster.lease(namespace_of(undo.kind, undo.handle), name_of(undo.kind, undo.handle))


def take(cluster: Cluster, undo: Undo, now: float) -> str | None:
    """Take the target: the uid of the Lease; None: it is already taken. Raises CannotInject where the cluster changed the record:
    a restore from it would be wrong."""
    key, _, value = LABEL.partition("=")
    annotations = _annotations(cluster, undo)
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name_of(undo.kind, undo.handle),
            "labels": {key: value},
            "annotations": annotations,
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
    if not whole(made, undo) or not annotations.items() <= made["metadata"]["annotations"].items():
        release(cluster, undo, uid)
        raise CannotInject(
            f"the cluster's admission (a policy or webhook) changed the Lease of {undo.handle}: its undo record is not "
            "what was written; exempt the Leases of brownout"
        )
    return uid


def carries(lease: dict[str, Any], undo: Undo) -> bool:
    """Whether a Lease holds the target for this fault; where its record is damaged, by its holder."""
    try:
        return undo_in(lease).same_fault(undo.in_lease)
    except ValueError:
        return bool((lease.get("spec") or {}).get("holderIdentity") == _holder(undo))


def taken_at(lease: dict[str, Any]) -> float:
    """When it was taken, in unix seconds."""
    return unix(lease["spec"].get("acquireTime")) or unix(lease["metadata"].get("creationTimestamp"))


def whole(lease: dict[str, Any], undo: Undo) -> bool:
    """Whether it contains exactly this record, and the label by which restorers find it."""
    key, _, value = LABEL.partition("=")
    if (lease["metadata"].get("labels") or {}).get(key) != value:
        return False  # the reaper would not find it
    try:
        return undo_in(lease) == undo.in_lease
    except ValueError:
        return False


def rewrite(cluster: Cluster, undo: Undo) -> None:
    """Write the record again into the target's Lease. Raises API_ERRORS, and ValueError where the Lease does not belong to this
    fault, or was changed meanwhile."""
    found = read(cluster, undo)
    if found is None or not carries(found, undo):
        raise ValueError(f"the Lease of {undo.handle} is not ours")
    key, _, value = LABEL.partition("=")
    labels = (found["metadata"].get("labels") or {}) | {key: value}
    others = {k: v for k, v in (found["metadata"].get("annotations") or {}).items() if k != _SIGNATURE}
    annotations = others | _annotations(cluster, undo)
    spec = {**found["spec"], "leaseDurationSeconds": max(1, round(undo.deadline - taken_at(found)))}
    meta = {**found["metadata"], "labels": labels, "annotations": annotations}
    fresh = {**found, "metadata": meta, "spec": spec}
    if cluster.replace_lease(fresh) is None:
        raise ValueError(f"the Lease of {undo.handle} was written meanwhile")


def release(cluster: Cluster, undo: Undo, uid: str) -> None:
    """Delete the Lease, after the verified restore."""
    cluster.delete_lease(namespace_of(undo.kind, undo.handle), name_of(undo.kind, undo.handle), uid)


def undo_in(lease: dict[str, Any]) -> Undo:
    """The undo record in a Lease. Raises ValueError, whose text is one line, where it has none that may be acted on.

    Anyone who may write Leases could make a restorer execute the record. So it must be of the Lease's own target, and of a
    fault on the cluster. A record with commands is never one of these, and no path or process in it is kept.
    """
    meta = lease["metadata"]
    try:
        return _record(meta)
    except ValidationError as e:
        why = f": its record is not one of its fault: {first_error(e)}"
    except ValueError as e:
        why = str(e)
    raise ValueError(line(f"the Lease {meta['name']}{why}"))


def _record(meta: dict[str, Any]) -> Undo:
    text = (meta.get("annotations") or {}).get(_UNDO)
    if text is None:
        raise ValueError(" carries no undo record")
    try:
        undo = Undo.of_json(text)
    except ValueError as e:
        raise ValueError(f": {e}") from None
    if undo.fault not in faults.names() or undo.kind not in faults.driver(undo.fault).kinds:
        raise ValueError(f": its record names an unknown fault: {undo.fault}")
    if not undo.target_handle.on_cluster or not _is_of(meta, undo):
        raise ValueError(f": its record is of another target: {undo.target_handle}")
    driver = faults.driver(undo.fault)
    driver.options.model_validate(undo.options)
    driver.recorded.model_validate(undo.state)
    return undo.in_lease


def _is_of(meta: dict[str, Any], undo: Undo) -> bool:
    """Whether the Lease is the one of the record's target. A handle has no more parts than namespace and name."""
    where, name = namespace_of(undo.kind, undo.handle), undo.handle.split("/")[-1]
    own = (meta["namespace"], meta["name"]) == (where, name_of(undo.kind, undo.handle))
    return own and undo.handle in (name, f"{where}/{name}")


def trusted(lease: dict[str, Any], keys: Keys, now: float) -> Undo:
    """The undo record in a Lease, if it may be acted on and, where there is a key, is signed. Raises ValueError otherwise."""
    undo, meta = undo_in(lease), lease["metadata"]
    signed = (meta.get("annotations") or {}).get(_SIGNATURE)
    why = keys.refused(undo, meta["namespace"], signed, now)
    if why is not None:
        raise ValueError(f"the Lease {meta['name']}: {why}")
    return undo


def is_signed(cluster: Cluster, lease: dict[str, Any], now: float) -> bool:
    """Whether a restorer would act on the record that it contains. Raises API_ERRORS."""
    try:
        trusted(lease, signature.read(cluster, lease["metadata"]["namespace"]), now)
    except ValueError:
        return False
    return True


def holder_in(cluster: Cluster, lease: dict[str, Any], now: float) -> Undo:
    """The record of the claim that a Lease is. Raises CannotInject where it cannot be read, or is not signed: then who holds the
    target, and how it was before, is unknown. Raises API_ERRORS."""
    keys = signature.read(cluster, lease["metadata"]["namespace"])
    try:
        return trusted(lease, keys, now)
    except ValueError as e:
        meta = lease["metadata"]
        raise CannotInject(
            f"{e}; if no fault is open there, remove it: kubectl delete lease -n {meta['namespace']} {meta['name']}"
        ) from None


def _annotations(cluster: Cluster, undo: Undo) -> dict[str, str]:
    namespace = namespace_of(undo.kind, undo.handle)
    signed = signature.read(cluster, namespace).sign(undo, namespace)
    found = {_UNDO: undo.in_lease.to_json(), _DEADLINE: f"{undo.deadline:.3f}"}
    return found if signed is None else found | {_SIGNATURE: signed}


def _holder(undo: Undo) -> str:
    return f"{undo.holder} ({undo.run})"


def unix(instant: str | None) -> float:
    """A MicroTime or a Time of the API in unix seconds; 0.0 where there is none, or one that no clock has (year 0)."""
    try:
        return datetime.datetime.fromisoformat((instant or "").replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def instant(at: float) -> str:
    """A MicroTime in the API's format."""
    found = datetime.datetime.fromtimestamp(at, datetime.UTC)
    # isoformat omits a fraction of zero, and the API server does not accept that as a MicroTime.
    text = found.replace(microsecond=found.microsecond or 1).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")

"""The owners of an object's fields: `metadata.managedFields`, for the few fields that the harness reads. Pure.

It follows the server (structured-merge-diff, and the handler of the scale subresource). The manager that changes a field
owns it from then on. A removed field has no owner. A write that changes nothing leaves the owners unchanged. Owners are
recorded before admission changes the object, so a value that admission sets belongs to the writer.

At zero a Scale has no `replicas`: a scale to zero removes the field and leaves it without an owner. From then on no write
to the scale subresource gets an owner: the server records owners only on an object that has some, and a Scale has only
those of the replicas. A write of the object itself with another value gets an owner again. An entry of the scale
subresource has no time.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]

REPLICAS = ("spec", "replicas")
# The recorded fields by kind; the owners of others are not read. A template always has an owner: an object without any
# owner is one whose managedFields were removed.
NOTED: dict[str, tuple[Path, ...]] = {
    "Deployment": (REPLICAS, ("spec", "template")),
    "StatefulSet": (REPLICAS, ("spec", "template")),
    "Node": (("spec", "unschedulable"), ("metadata", "labels")),
    "NetworkPolicy": (("spec", "podSelector"),),
}


def written(before: Object | None, after: Object, manager: str, now: str) -> list[Object]:
    """The entries after a write of the whole object; `before` is None for a create."""
    entries = _entries(before)
    for path in NOTED.get(after["kind"], ()):
        old, new = _value(before, path), _value(after, path)
        if old == new:
            continue
        entries = _without(entries, path)
        if new is not None:
            entries = _with(
                entries, path, {"manager": manager, "apiVersion": after["apiVersion"], "time": now}
            )
    return entries


def scaled(before: Object, replicas: int, manager: str) -> list[Object]:
    """The entries after a write of `replicas` to the scale subresource."""
    entries = _entries(before)
    others = _without(entries, REPLICAS)
    if before["spec"]["replicas"] == replicas or len(others) == len(entries):
        return entries
    if not replicas:
        return others
    made = {"manager": manager, "apiVersion": before["apiVersion"], "subresource": "scale"}
    return _with(others, REPLICAS, made)


def put(obj: Object, entries: list[Object]) -> Object:
    """The object with these entries; without the field if there are none."""
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": {**meta, "managedFields": entries} if entries else meta}


def _entries(obj: Object | None) -> list[Object]:
    return list(((obj or {}).get("metadata") or {}).get("managedFields") or ())


def _value(obj: Object | None, path: Path) -> Any:
    found: Any = obj
    for step in path:
        found = (found or {}).get(step)
    return found


def _fields(path: Path) -> Object:
    made: Object = {}
    for step in reversed(path):
        made = {f"f:{step}": made}
    return made


def _without(entries: list[Object], path: Path) -> list[Object]:
    """Without the entry of this field; every entry here holds exactly one field."""
    return [e for e in entries if e["fieldsV1"] != _fields(path)]


def _with(entries: list[Object], path: Path, made: Object) -> list[Object]:
    return [*entries, {"operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": _fields(path), **made}]

"""Who wrote the fields of an object: `metadata.managedFields`, for those few fields that somebody here reads. Pure.

As the server does it (structured-merge-diff, and the handler of the scale subresource): whoever changes a field owns it from
then on, a field that is taken away has no owner, and a write that changes nothing leaves the owners as they are. Owners are
noted before admission changes the object, so a value that admission has made is its writer's all the same. At zero a Scale
has no `replicas`: a scale to zero takes the field away and leaves it without an owner. From then on no write to the scale
subresource gets an owner, whoever makes it: the server notes owners only on an object that has some, and a Scale has those
of the replicas alone. A write of the object itself with another value has an owner again. An entry that was made by way of
the scale subresource carries no time.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]

REPLICAS = ("spec", "replicas")
# By kind, what is noted; of everything else nobody here asks for the owner. A template always has one: an object on which
# nobody owns anything is one whose managedFields were taken away.
NOTED: dict[str, tuple[Path, ...]] = {
    "Deployment": (REPLICAS, ("spec", "template")),
    "StatefulSet": (REPLICAS, ("spec", "template")),
    "Node": (("spec", "unschedulable"), ("metadata", "labels")),
    "NetworkPolicy": (("spec", "podSelector"),),
}


def written(before: Object | None, after: Object, manager: str, now: str) -> list[Object]:
    """The entries after a write of the whole object; `before` is None where it is created."""
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
    """The entries after a write to the scale subresource that asks for so many."""
    entries = _entries(before)
    others = _without(entries, REPLICAS)
    if before["spec"]["replicas"] == replicas or len(others) == len(entries):
        return entries
    if not replicas:
        return others
    made = {"manager": manager, "apiVersion": before["apiVersion"], "subresource": "scale"}
    return _with(others, REPLICAS, made)


def put(obj: Object, entries: list[Object]) -> Object:
    """The object with these entries, or without any where there are none."""
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
    """One field a list entry here, so that an entry is of this field or of another."""
    return [e for e in entries if e["fieldsV1"] != _fields(path)]


def _with(entries: list[Object], path: Path, made: Object) -> list[Object]:
    return [*entries, {"operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": _fields(path), **made}]

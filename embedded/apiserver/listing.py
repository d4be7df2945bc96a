"""A list, whole or in pages. Pure: objects and a query in, a list object out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from embedded.apiserver.errors import bad_request, expired_list, not_a_number, too_large
from embedded.apiserver.resources import Resource
from embedded.apiserver.selectors import Predicate, by_fields, by_labels
from embedded.apiserver.store import Object


def selected_by(resource: Resource, query: Mapping[str, str]) -> Predicate:
    labels = by_labels(query.get("labelSelector", ""))
    fields = by_fields(query.get("fieldSelector", ""), resource.kind)
    return lambda obj: labels(obj) and fields(obj)


def number(query: Mapping[str, str], key: str) -> float | None:
    text = query.get(key, "")
    try:
        return float(text) if text else None
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def page(
    resource: Resource, objects: list[Object], version: int, query: Mapping[str, str], forgotten: int = 0
) -> Object:
    """Items have neither kind nor apiVersion, as the server omits them, except for custom resources.

    `forgotten`: the newest version that is compacted; a list cannot be continued from before it.
    """
    at_least = query.get("resourceVersion", "")
    if at_least and not at_least.isdecimal():
        raise bad_request(f"invalid resource version: {not_a_number(at_least)}")
    if at_least and int(at_least) > version:
        raise too_large(int(at_least), version)
    selected = selected_by(resource, query)
    found = sorted((obj for obj in objects if selected(obj)), key=_key)  # in the order of etcd's keys
    if token := query.get("continue"):
        start, begun = _start_of(token)
        if begun < forgotten:
            raise expired_list(_token(version, start))
        found = [obj for obj in found if _key(obj) >= start]
    limit = int(number(query, "limit") or 0)
    meta: dict[str, Any] = {"resourceVersion": str(version)}
    if limit and len(found) > limit:
        # The next key is the last shown key plus a zero byte.
        meta["continue"] = _token(version, f"{_key(found[limit - 1])}\0")
        if not query.get("labelSelector") and not query.get(
            "fieldSelector"
        ):  # else the server has not read the rest
            meta["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    dropped = () if resource.custom else ("kind", "apiVersion")
    items = [{key: value for key, value in obj.items() if key not in dropped} for obj in found]
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": meta,
        "items": items,
    }


def _key(obj: Object) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"


def _token(version: int, start: str) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _start_of(token: str) -> tuple[str, int]:
    """The first key of the next page, and the version at which the list began."""
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return str(found["start"]), int(found["rv"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise bad_request("continue key is not valid") from None

"""A list, whole or in pages. Pure: objects and a query in, a list object out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from embedded.apiserver.errors import bad_request, not_a_number, too_large
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


def page(resource: Resource, objects: list[Object], version: int, query: Mapping[str, str]) -> Object:
    """Items have neither kind nor apiVersion, as the server omits them, except for custom resources."""
    at_least = query.get("resourceVersion", "")
    if at_least and not at_least.isdecimal():
        raise bad_request(f"invalid resource version: {not_a_number(at_least)}")
    if at_least and int(at_least) > version:
        raise too_large(int(at_least), version)
    selected = selected_by(resource, query)
    found = [obj for obj in objects if selected(obj)]
    if token := query.get("continue"):
        start = _start_of(token)
        found = [obj for obj in found if _key(obj) >= start]
    limit = int(number(query, "limit") or 0)
    meta: dict[str, Any] = {"resourceVersion": str(version)}
    if limit and len(found) > limit:
        # The next key is the last shown key plus a zero byte.
        next_page = {"v": "meta.k8s.io/v1", "rv": version, "start": f"{_key(found[limit - 1])}\0"}
        token = base64.urlsafe_b64encode(json.dumps(next_page, separators=(",", ":")).encode()).decode()
        meta |= {"continue": token.rstrip("="), "remainingItemCount": len(found) - limit}
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


def _start_of(token: str) -> str:
    try:
        return str(json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))["start"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise bad_request("continue key is not valid") from None

"""Decodes a request's body, or a patch and its target, to an object that fits its kind. Pure."""

from __future__ import annotations

import json
from typing import Any

from embedded.apiserver import fields, patches
from embedded.apiserver.errors import bad_request, invalid_patch
from embedded.apiserver.options import Options
from embedded.apiserver.resources import Resource

Object = dict[str, Any]


def whole(api_version: str, kind: str, obj: Any, options: Options) -> Object:
    """The object of a POST or PUT, with its kind, field names and field types checked."""
    if not isinstance(obj, dict):
        raise bad_request(f"the body is not an object of kind {kind}")
    # The client libraries sometimes omit them; the server takes them from the URL.
    obj = {"kind": kind, "apiVersion": api_version, **obj}
    version = api_version.rpartition("/")[2]
    if (obj["apiVersion"], obj["kind"]) != (api_version, kind):
        raise bad_request(
            f"{obj['kind']} in version {json.dumps(str(obj['apiVersion']).rpartition('/')[2])} cannot be handled as a {kind}"
        )
    complaint = f'{kind} in version "{version}" cannot be handled as a {kind}: '
    if found := fields.misfit(obj):
        raise bad_request(complaint + found[0])
    unknown = fields.unknown(obj)
    if unknown and options.validation == "Strict":
        raise bad_request(complaint + "strict decoding error: " + _unknown_fields(unknown))
    options.warn(unknown)
    return _kept(obj)


def patched(current: Object, content_type: str, patch: Any, options: Options) -> Object:
    """The result of a patch; refused if it is no longer an object of the kind."""
    outcome = patches.apply(content_type, current, patch)
    kind = current["kind"]
    strategic = content_type == patches.STRATEGIC
    shown = _go_map(patch) if strategic else _quoted(outcome)
    if (outcome.get("apiVersion"), outcome.get("kind")) != (current["apiVersion"], kind):
        came = f"{str(outcome.get('apiVersion')).rpartition('/')[2]}.{outcome.get('kind')}"
        group = current["apiVersion"].partition("/")[0]
        raise invalid_patch(_quoted(outcome), f"converting ({came}) to ({group}.{kind}): unknown conversion")
    if found := fields.misfit(outcome):
        raise invalid_patch(shown, fields.misfit_in_strategic_merge(found) if strategic else found[0])
    name = (outcome.get("metadata") or {}).get("name")
    if name != current["metadata"]["name"]:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({current['metadata']['name']})"
        )
    unknown = fields.unknown(outcome)
    if unknown and options.validation == "Strict":
        raise invalid_patch(shown, "strict decoding error: " + _unknown_fields(unknown))
    options.warn(unknown)
    return _kept(outcome)


def in_place(resource: Resource, obj: Object, namespace: str, name: str = "") -> Object:
    """The object with the namespace of the URL; a different namespace or name in the body is refused."""
    meta = dict(obj.get("metadata") or {})
    if name and meta.setdefault("name", name) != name:
        raise bad_request(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
        )
    if resource.namespaced and meta.setdefault("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return {**obj, "metadata": meta}


def _kept(obj: Object) -> Object:
    obj = fields.known_only(obj)
    return fields.in_utc(obj) if obj["kind"] == "Lease" else obj


def _unknown_fields(paths: list[str]) -> str:
    return ", ".join(f'unknown field "{path}"' for path in paths)


def _quoted(obj: Object) -> str:
    first = {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind")}
    spec = {"spec": dict(sorted(obj["spec"].items()))} if isinstance(obj.get("spec"), dict) else {}
    text = json.dumps({**first, **obj, **first, **spec}, separators=(",", ":"), ensure_ascii=False)
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _go_map(value: Any) -> str:
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go_map(inner)}" for key, inner in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go_map(inner) for inner in value) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)

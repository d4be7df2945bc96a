"""The three kinds of patch: an object and a patch in, the patched object out. Pure; neither is changed.

A strategic merge is applied as a merge patch: lists that it would merge by key (containers, conditions) are replaced.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from embedded.apiserver.errors import ApiError, bad_request, rejected_json_patch, unsupported_media_type

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


def parse(content_type: str, body: bytes) -> Any:
    """The patch in a request's body, which must be JSON of the shape that its content type requires."""
    if content_type not in (MERGE, STRATEGIC, JSON_PATCH):
        raise unsupported_media_type()
    patch = loads(body, "error decoding patch: ")
    if content_type == JSON_PATCH and not isinstance(patch, list):
        raise _wrong_shape(patch, "[]handlers.jsonPatchOp")
    if content_type != JSON_PATCH and not isinstance(patch, dict):
        raise _wrong_shape(patch, "map[string]interface {}")
    return patch


def loads(body: bytes, prefix: str = "") -> Any:
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if not text[error.pos :].strip():
            raise bad_request(f"{prefix}unexpected end of JSON input") from None
        why = f"invalid character '{text[error.pos]}' looking for beginning of value"
        raise bad_request(prefix + why) from None


def apply(content_type: str, target: dict[str, Any], patch: Any) -> dict[str, Any]:
    if content_type == JSON_PATCH:
        return _json_patch(copy.deepcopy(target), patch)
    return merge(target, patch)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, dicts are merged, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def _wrong_shape(patch: Any, expected: str) -> ApiError:
    names = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    found = names.get(type(patch), "null")
    return bad_request(
        f"error decoding patch: json: cannot unmarshal {found} into Go value of type {expected}"
    )


def _json_patch(target: dict[str, Any], operations: list[Any]) -> dict[str, Any]:
    for operation in operations:
        try:
            _operate(target, operation)
        except (KeyError, IndexError, TypeError, ValueError):
            raise rejected_json_patch() from None
    return target


def _operate(target: dict[str, Any], operation: dict[str, Any]) -> None:
    holder, key = _walk(target, operation["path"])
    match operation["op"]:
        case "test":
            # The server's library treats absent and null as equal.
            if _get(holder, key) != operation.get("value"):
                raise ValueError("test failed")
        case "add":
            _set(holder, key, operation["value"], insert=True)
        case "replace":
            # The server accepts a replace of an absent field, as an add.
            _set(holder, key, operation["value"], insert=False)
        case "remove":
            del holder[key if isinstance(holder, dict) else int(key)]
        case unknown:
            raise ValueError(f"no operation {unknown}")


def _walk(target: Any, pointer: str) -> tuple[Any, str]:
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for step in steps:
        target = target[int(step)] if isinstance(target, list) else target[step]
    return target, last


def _get(holder: Any, key: str) -> Any:
    return holder[int(key)] if isinstance(holder, list) else holder.get(key)


def _set(holder: Any, key: str, value: Any, insert: bool) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    elif key == "-":
        holder.append(value)
    elif insert:
        holder.insert(int(key), value)
    else:
        holder[int(key)] = value

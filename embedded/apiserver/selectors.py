"""Label and field selectors: text in, a predicate over objects out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from embedded.apiserver.errors import bad_request

Predicate = Callable[[dict[str, Any]], bool]

FIELDS = ("metadata.name", "metadata.namespace")
MORE_FIELDS = {
    "Pod": ("status.phase", "spec.nodeName", "spec.restartPolicy"),
    "Node": ("spec.unschedulable",),
}
SET_BASED = re.compile(r"^\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*$")


def by_labels(text: str) -> Predicate:
    tests = [_label_test(part.strip()) for part in _parts(text)]
    return lambda obj: all(test(obj["metadata"].get("labels") or {}) for test in tests)


def by_fields(text: str, kind: str) -> Predicate:
    tests = [_field(part.strip(), kind) for part in _parts(text)]
    return lambda obj: all((_at(obj, path) == value) is equal for path, value, equal in tests)


def name_in(text: str) -> str:
    """The metadata.name in a fieldSelector, for rules with resource names; empty if it has none."""
    for part in _parts(text):
        path, equals, value = part.replace("==", "=").partition("=")
        if path.strip() == "metadata.name" and equals:
            return value.strip()
    return ""


def matches(labels: dict[str, str], selector: dict[str, Any]) -> bool:
    """Whether these labels fit a `matchLabels`. matchExpressions are ignored; an empty one fits nothing."""
    selected = selector.get("matchLabels") or {}
    return bool(selected) and all(labels.get(key) == value for key, value in selected.items())


def fits(labels: dict[str, str], selector: dict[str, Any]) -> bool:
    """Whether these labels fit a LabelSelector, including its expressions. An empty one fits everything."""
    selected = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in selected.items()) and all(
        _expressed(labels, expression) for expression in selector.get("matchExpressions") or ()
    )


def _expressed(labels: dict[str, str], expression: dict[str, Any]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def as_text(selector: dict[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items()))


def _parts(text: str) -> list[str]:
    """Splits at commas outside parentheses."""
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _label_test(part: str) -> Callable[[dict[str, str]], bool]:
    if found := SET_BASED.match(part):
        key, word, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        if word == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if "!=" in part:
        key, value = (side.strip() for side in part.split("!=", 1))
        return lambda labels: labels.get(key) != value
    if "=" in part:
        key, value = (side.strip() for side in part.replace("==", "=").split("=", 1))
        return lambda labels: labels.get(key) == value
    if part.startswith("!"):
        return lambda labels: part[1:].strip() not in labels
    return lambda labels: part in labels


def _field(part: str, kind: str) -> tuple[str, str, bool]:
    equal = "!=" not in part
    path, _, value = part.replace("!=", "=").replace("==", "=").partition("=")
    if path not in (*FIELDS, *MORE_FIELDS.get(kind, ())):
        raise bad_request(
            f'Unable to find "{path}" that match field selector: field label not supported: {path}'
        )
    return path, value, equal


def _at(obj: dict[str, Any], path: str) -> Any:
    here: Any = obj
    for step in path.split("."):
        here = here.get(step, {}) if isinstance(here, dict) else {}
    if isinstance(here, bool):
        return str(here).lower()
    return here if here != {} else ""

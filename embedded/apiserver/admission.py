"""Admission: runs between a write and the store, and may change or deny the write.

A test's function stands for a cluster's MutatingAdmissionPolicies, ValidatingAdmissionPolicies and webhooks. Admission
runs after the owners of the fields are recorded (managed.py). A dry run is admitted like a real write; a webhook with
side effects is not called for it, and the server answers 400.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embedded.apiserver.errors import ApiError, bad_request

Object = dict[str, Any]


@dataclass(frozen=True)
class Admission:
    """`acts` gets the object that the write would store; it returns that or a replacement, or raises `denied`."""

    name: str
    on: str  # the resource as in RBAC rules: deployments/scale, nodes, leases
    acts: Callable[[Object], Object]
    side_effects: bool = False


def admitted(rules: list[Admission], on: str, obj: Object, dry_run: bool) -> Object:
    for rule in rules:
        if rule.on != on:
            continue
        if dry_run and rule.side_effects:
            raise bad_request(f'admission webhook "{rule.name}" does not support dry run')
        obj = rule.acts(obj)
    return obj


def denied(name: str, why: str = "", code: int = 400, reason: str | None = None) -> ApiError:
    """A webhook's denial: with any code and reason that the webhook chooses; code 400 by default."""
    why = why or reason or ""
    words = f": {why}" if why else " without explanation"
    return ApiError(code, f'admission webhook "{name}" denied the request{words}', reason)


def denied_by_policy(name: str, why: str, on: str, code: int = 422) -> ApiError:
    """A ValidatingAdmissionPolicy's denial of a write to the object `on`, with one of the three allowed reasons."""
    reason = {403: "Forbidden", 413: "RequestEntityTooLarge", 422: "Invalid"}[code]
    words = f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {why}"
    return ApiError(code, f"{on} is forbidden: {words}", reason, {"causes": [{"message": words}]})


def replicas(
    name: str, made: Callable[[int], int], side_effects: bool = False, on: str = "deployments/scale"
) -> Admission:
    """An Admission that maps a Scale's requested replicas with `made`."""

    def acts(scale: Object) -> Object:
        count = made((scale.get("spec") or {}).get("replicas") or 0)
        return {**scale, "spec": {"replicas": count} if count else {}}

    return Admission(name, on, acts, side_effects)

"""Admission: what stands between a write and the store, and may change it or deny it.

What a cluster's MutatingAdmissionPolicies, ValidatingAdmissionPolicies and webhooks do is here a function of a test's own.
A change comes after the owners of the fields were noted (managed.py). A dry run is admitted as a real write is; a webhook that
has side effects is not called for one, and the server answers 400.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embedded.apiserver.errors import ApiError, bad_request

Object = dict[str, Any]


@dataclass(frozen=True)
class Admission:
    """`acts` gets an object as a write would leave it, and returns it, or another in its place, or raises `denied`."""

    name: str
    on: str  # the resource as rules have it: deployments/scale, nodes, leases
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
    """As a webhook denies: by a code and a reason of its own, whatever they mean elsewhere; 400 where it gives none."""
    why = why or reason or ""
    words = f": {why}" if why else " without explanation"
    return ApiError(code, f'admission webhook "{name}" denied the request{words}', reason)


def denied_by_policy(name: str, why: str, on: str, code: int = 422) -> ApiError:
    """As a ValidatingAdmissionPolicy denies a write to the object `on`, by one of the three reasons that it may give."""
    reason = {403: "Forbidden", 413: "RequestEntityTooLarge", 422: "Invalid"}[code]
    words = f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {why}"
    return ApiError(code, f"{on} is forbidden: {words}", reason, {"causes": [{"message": words}]})


def replicas(
    name: str, made: Callable[[int], int], side_effects: bool = False, on: str = "deployments/scale"
) -> Admission:
    """One that makes so many of so many replicas that a scale asks for."""

    def acts(scale: Object) -> Object:
        wanted = made((scale.get("spec") or {}).get("replicas") or 0)
        return {**scale, "spec": {"replicas": wanted} if wanted else {}}

    return Admission(name, on, acts, side_effects)

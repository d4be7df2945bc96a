"""The server's validation of a complete object. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from embedded.apiserver.errors import ApiError, invalid_in_all
from embedded.apiserver.resources import Resource

Object = dict[str, Any]
# (field, message, reason)
Complaint = tuple[str, str, str]

INVALID, REQUIRED, FORBIDDEN, UNSUPPORTED = (
    "FieldValueInvalid",
    "FieldValueRequired",
    "FieldValueForbidden",
    "FieldValueNotSupported",
)
NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    f" end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{NAME}')"
)
MOST_ANNOTATIONS = 256 * 1024
COUNT_OR_PERCENTAGE = re.compile(r"\d+%")


def refusal(resource: Resource, obj: Object) -> ApiError | None:
    """The error of an invalid object, or None."""
    found = list(_complaints(resource.kind, obj))
    name = obj["metadata"].get("name", "")
    return invalid_in_all(resource.kind, resource.group, name, found) if found else None


def _complaints(kind: str, obj: Object) -> Iterator[Complaint]:
    name = obj["metadata"].get("name", "")
    spec = obj.get("spec") or {}
    if not name:
        yield "metadata.name", "Required value: name or generateName is required", REQUIRED
        return
    # The names of Namespaces and Services have a stricter rule, which is not implemented.
    if kind not in ("Namespace", "Service") and not re.fullmatch(NAME, name):
        yield "metadata.name", f'Invalid value: "{name}": {NAME_RULE}', INVALID
    annotations = obj["metadata"].get("annotations") or {}
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > MOST_ANNOTATIONS:
        message = f"Too long: may not be more than {MOST_ANNOTATIONS} bytes"
        yield "metadata.annotations", message, "FieldValueTooLong"
    match kind:
        case "Deployment" | "StatefulSet":
            # Only the first: the later checks are limits of this stand-in, not of Kubernetes.
            yield from list(_of_workload(spec))[:1]
        case "Lease":
            duration_s = spec.get("leaseDurationSeconds")
            if duration_s is not None and duration_s <= 0:
                message = f"Invalid value: {duration_s}: must be greater than 0"
                yield "spec.leaseDurationSeconds", message, INVALID
        case "NetworkPolicy":
            yield from _of_selector("spec.podSelector", spec["podSelector"])
            for index, word in enumerate(spec["policyTypes"]):
                if word not in ("Ingress", "Egress"):
                    message = f'Unsupported value: "{word}": supported values: "Ingress", "Egress"'
                    yield f"spec.policyTypes[{index}]", message, UNSUPPORTED
        case "Node":
            for index, taint in enumerate(spec.get("taints") or ()):
                if not taint.get("key") or not taint.get("effect"):
                    yield f"spec.taints[{index}]", "Required value: key and effect", REQUIRED
        case "PodDisruptionBudget":
            yield from _of_selector("spec.selector", spec.get("selector") or {})
            yield from _of_budget(spec)
        case "HorizontalPodAutoscaler":
            yield from _of_autoscaler(spec)


def _of_workload(spec: Object) -> Iterator[Complaint]:
    template = spec["template"]
    containers = template["spec"]["containers"]
    if spec["replicas"] < 0:
        message = f"Invalid value: {spec['replicas']}: must be greater than or equal to 0"
        yield "spec.replicas", message, INVALID
    if len(containers) != 1:
        message = "Invalid value: a Pod here is one process: one container"
        yield "spec.template.spec.containers", message, INVALID
        return
    if not containers[0].get("command"):
        message = "Required value: a Pod here is a process on this machine"
        yield "spec.template.spec.containers[0].command", message, REQUIRED
    if template["spec"]["terminationGracePeriodSeconds"] < 0:
        message = "Invalid value: must not be negative"
        yield "spec.template.spec.terminationGracePeriodSeconds", message, INVALID
    if complaint := _bad_ports(containers[0]):
        yield "spec.template.spec.containers[0]", f"Invalid value: {complaint}", INVALID
    selected = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = template["metadata"].get("labels") or {}
    if not selected or any(labels.get(key) != value for key, value in selected.items()):
        message = f"Invalid value: {labels}: `selector` does not match template `labels`"
        yield "spec.template.metadata.labels", message, INVALID


def _bad_ports(container: Object) -> str | None:
    ports = container.get("ports") or []
    if any(not port.get("containerPort") for port in ports):
        return "a port without containerPort"
    get = (container.get("readinessProbe") or {}).get("httpGet")
    if (
        get
        and not isinstance(get.get("port"), int)
        and get.get("port") not in [port.get("name") for port in ports]
    ):
        return "the readinessProbe uses a port that the container does not have"
    return None


def _of_selector(path: str, selector: Object) -> Iterator[Complaint]:
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator"), expression.get("values")
        if not expression.get("key"):
            yield f"{here}.key", "Required value", REQUIRED
        if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            yield f"{here}.operator", f'Invalid value: "{operator}": not a valid selector operator', INVALID
        elif operator in ("In", "NotIn") and not values:
            message = "Required value: must be specified when `operator` is 'In' or 'NotIn'"
            yield f"{here}.values", message, REQUIRED


def _of_budget(spec: Object) -> Iterator[Complaint]:
    given = {key: spec[key] for key in ("minAvailable", "maxUnavailable") if spec.get(key) is not None}
    if len(given) == 2:
        yield "spec", f"Invalid value: {given}: minAvailable and maxUnavailable cannot be both set", INVALID
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"spec.{key}", f"Invalid value: {value}: must be an integer or a percentage", INVALID
        elif isinstance(value, int) and value < 0:
            yield f"spec.{key}", f"Invalid value: {value}: must be greater than or equal to 0", INVALID
        elif isinstance(value, str) and not COUNT_OR_PERCENTAGE.fullmatch(value):
            rule = "a valid percent string must be a numeric string followed by an ending '%'"
            yield f"spec.{key}", f'Invalid value: "{value}": {rule}', INVALID


def _of_autoscaler(spec: Object) -> Iterator[Complaint]:
    least, most = spec["minReplicas"], spec.get("maxReplicas") or 0
    # A server with HPAScaleToZero would accept a minReplicas of 0; the recorded one does not.
    if least < 1:
        yield "spec.minReplicas", f"Invalid value: {least}: must be greater than or equal to 1", INVALID
    if most < 1:
        yield "spec.maxReplicas", f"Invalid value: {most}: must be greater than 0", INVALID
    elif most < least:
        message = f"Invalid value: {most}: must be greater than or equal to `minReplicas`"
        yield "spec.maxReplicas", message, INVALID
    if not (spec.get("scaleTargetRef") or {}).get("name"):
        yield "spec.scaleTargetRef.name", "Required value", REQUIRED
    from_outside = any(metric.get("type") in ("Object", "External") for metric in spec["metrics"])
    if least == 0 and not from_outside:
        message = "Forbidden: must specify at least one Object or External metric to support scaling to zero replicas"
        yield "spec.metrics", message, FORBIDDEN

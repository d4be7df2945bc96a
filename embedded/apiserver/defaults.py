"""What the server fills in where a manifest says nothing, and what it refuses in one that is complete. Pure."""

from __future__ import annotations

import copy
from typing import Any

from embedded.apiserver.errors import ApiError, invalid
from embedded.apiserver.resources import Resource


def filled(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    """The object with its kind's defaults; what the manifest says is kept."""
    obj = copy.deepcopy(obj)
    match kind:
        case "Deployment":
            obj["spec"] = _workload_spec(obj.get("spec") or {}) | {
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
                },
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                **_said(obj, "strategy", "revisionHistoryLimit", "progressDeadlineSeconds"),
            }
        case "StatefulSet":
            obj["spec"] = _workload_spec(obj.get("spec") or {}) | {
                "podManagementPolicy": "OrderedReady",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "revisionHistoryLimit": 10,
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                **_said(
                    obj,
                    "podManagementPolicy",
                    "updateStrategy",
                    "revisionHistoryLimit",
                    "persistentVolumeClaimRetentionPolicy",
                ),
            }
        case "Namespace":
            labels = obj["metadata"].get("labels") or {}
            obj["metadata"]["labels"] = {
                "kubernetes.io/metadata.name": obj["metadata"].get("name", ""),
                **labels,
            }
            obj["spec"] = {"finalizers": ["kubernetes"]}
            obj["status"] = {"phase": "Active"}
        case "Service":
            ports = [
                {"protocol": "TCP", "targetPort": port.get("port"), **port}
                for port in (obj.get("spec") or {}).get("ports") or []
            ]
            obj["spec"] = {
                "type": "ClusterIP",
                "clusterIP": "127.0.0.1",
                **(obj.get("spec") or {}),
                "ports": ports,
            }
    return obj


def _said(obj: dict[str, Any], *keys: str) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    return {key: spec[key] for key in keys if spec.get(key) is not None}


def _workload_spec(spec: dict[str, Any]) -> dict[str, Any]:
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    containers = [_container(container) for container in pod.get("containers") or []]
    replicas = spec.get("replicas")
    return {
        **spec,
        "replicas": 1 if replicas is None else replicas,
        "template": {
            **template,
            "metadata": template.get("metadata") or {},
            "spec": {
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst",
                "securityContext": {},
                "schedulerName": "default-scheduler",
                **pod,
                "containers": containers,
            },
        },
    }


def _container(container: dict[str, Any]) -> dict[str, Any]:
    filled_in = {
        # A process has no image; the API wants one all the same.
        "image": "process",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        **container,
    }
    if container.get("ports"):
        filled_in["ports"] = [{"protocol": "TCP", **port} for port in container["ports"]]
    return filled_in


def _bad_ports(container: dict[str, Any]) -> str | None:
    ports = container.get("ports") or []
    if any(not port.get("containerPort") for port in ports):
        return "a port without containerPort"
    get = (container.get("readinessProbe") or {}).get("httpGet")
    if (
        get
        and not isinstance(get.get("port"), int)
        and get.get("port") not in [port.get("name") for port in ports]
    ):
        return "the readinessProbe asks a port that the container has not"
    return None


def refusal(resource: Resource, obj: dict[str, Any]) -> ApiError | None:
    """Why the complete object will not do, or None."""
    name = obj["metadata"].get("name", "")
    spec = obj.get("spec") or {}

    def no(field: str, message: str, reason: str = "FieldValueInvalid") -> ApiError:
        return invalid(resource.kind, resource.group, name, field, message, reason)

    if not name:
        return no("metadata.name", "Required value: name or generateName is required", "FieldValueRequired")
    if resource.kind in ("Deployment", "StatefulSet"):
        if spec["replicas"] < 0:
            return no(
                "spec.replicas",
                f"Invalid value: {spec['replicas']}: must be greater than or equal to 0",
            )
        containers = spec["template"]["spec"]["containers"]
        if len(containers) != 1:
            return no(
                "spec.template.spec.containers", "Invalid value: a Pod here is one process: one container"
            )
        if not containers[0].get("command"):
            return no(
                "spec.template.spec.containers[0].command",
                "Required value: a Pod here is a process on this machine",
                "FieldValueRequired",
            )
        if spec["template"]["spec"]["terminationGracePeriodSeconds"] < 0:
            return no(
                "spec.template.spec.terminationGracePeriodSeconds", "Invalid value: must not be negative"
            )
        if complaint := _bad_ports(containers[0]):
            return no("spec.template.spec.containers[0]", f"Invalid value: {complaint}")
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        labels = spec["template"]["metadata"].get("labels") or {}
        if not wanted or any(labels.get(key) != value for key, value in wanted.items()):
            return no(
                "spec.template.metadata.labels",
                f"Invalid value: {labels}: `selector` does not match template `labels`",
            )
    if resource.kind == "Lease":
        duration_s = spec.get("leaseDurationSeconds")
        if duration_s is not None and duration_s <= 0:
            return no("spec.leaseDurationSeconds", f"Invalid value: {duration_s}: must be greater than 0")
    return None

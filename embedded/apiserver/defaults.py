"""The server's defaults for fields that a manifest omits. Pure."""

from __future__ import annotations

import copy
from typing import Any

from embedded.apiserver import node

# For an autoscaler without metrics.
CPU_AT_80 = [
    {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
]


def filled(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    """The object with its kind's defaults; given values are kept."""
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
                **_given(obj, "strategy", "revisionHistoryLimit", "progressDeadlineSeconds"),
            }
        case "StatefulSet":
            obj["spec"] = _workload_spec(obj.get("spec") or {}) | {
                "podManagementPolicy": "OrderedReady",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "revisionHistoryLimit": 10,
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                **_given(
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
        case "Node":
            obj = node.filled(obj)
        case "NetworkPolicy":
            obj["spec"] = _policy_spec(obj.get("spec") or {})
        case "PodDisruptionBudget":
            obj["spec"] = obj.get("spec") or {}
            counts = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
            obj.setdefault("status", dict.fromkeys(counts, 0))
        case "HorizontalPodAutoscaler":
            given = _given(obj, "minReplicas", "metrics")
            obj["spec"] = {**(obj.get("spec") or {}), "minReplicas": 1, "metrics": CPU_AT_80, **given}
            obj.setdefault("status", {"desiredReplicas": 0, "currentMetrics": None})
        case "ScaledObject" | "InferenceService":
            obj.setdefault("spec", {})
    return obj


def _policy_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """Go omits an empty list of rules: absent and empty are the same."""
    types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    kept = {key: value for key, value in spec.items() if value or key not in ("ingress", "egress")}
    return {**kept, "podSelector": spec.get("podSelector") or {}, "policyTypes": types}


def _given(obj: dict[str, Any], *keys: str) -> dict[str, Any]:
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
        # A process has no image, but the API requires one.
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

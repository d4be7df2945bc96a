"""The Scale of a workload, as the scale subresource returns it. Pure."""

from __future__ import annotations

from typing import Any

from embedded.apiserver.selectors import as_text


def scale_of(workload: dict[str, Any]) -> dict[str, Any]:
    """At zero `spec` is empty: Go omits a zero in an omitempty field, and clients read None."""
    meta = workload["metadata"]
    replicas = workload["spec"].get("replicas", 0)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        },
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": workload.get("status", {}).get("replicas", 0),
            "selector": as_text(workload["spec"]["selector"]),
        },
    }


def replicas_of(scale: dict[str, Any]) -> int:
    """The replicas that a Scale requests; absent means zero."""
    return (scale.get("spec") or {}).get("replicas") or 0

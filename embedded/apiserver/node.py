"""The Node object: what a kubelet and the node controller write into it. Pure.

All Nodes are this one machine; a second Node is only another name to schedule Pods to.
"""

from __future__ import annotations

import os
import platform
from typing import Any

from embedded.apiserver.pod import ADDRESS, NODE

Object = dict[str, Any]

CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def manifest(name: str = NODE) -> Object:
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}}


def filled(obj: Object) -> Object:
    """The Node with the labels and the status of a healthy kubelet; given values are kept."""
    meta, spec = obj["metadata"], dict(obj.get("spec") or {})
    labels = {
        "kubernetes.io/arch": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "kubernetes.io/hostname": meta.get("name", ""),
        "kubernetes.io/os": "linux",
    }
    # Go omits false.
    if not spec.get("unschedulable"):
        spec.pop("unschedulable", None)
    at = meta.get("creationTimestamp")
    status = {"conditions": [_ready(at)], **_machine(meta.get("name", "")), **(obj.get("status") or {})}
    return {
        **obj,
        "metadata": {**meta, "labels": {**labels, **(meta.get("labels") or {})}},
        "spec": spec,
        "status": status,
    }


def is_cordoned(node: Object) -> bool:
    return bool(node["spec"].get("unschedulable"))


def is_ready(node: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))


def tainted(node: Object, now: str) -> Object:
    """The Node with or without the taint of a cordon, which the node controller sets after the write."""
    others = [t for t in node["spec"].get("taints") or () if t["key"] != CORDONED["key"]]
    old = [t for t in node["spec"].get("taints") or () if t["key"] == CORDONED["key"]]
    taints = [*others, *(old or [{**CORDONED, "timeAdded": now}])] if is_cordoned(node) else others
    spec = {key: value for key, value in node["spec"].items() if key != "taints"}
    return {**node, "spec": {**spec, "taints": taints} if taints else spec}


def _ready(at: str | None) -> Object:
    return {
        "type": "Ready",
        "status": "True",
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
    }


def _machine(name: str) -> Object:
    size = {"cpu": str(os.cpu_count() or 1), "pods": "110"}
    return {
        "capacity": size,
        "allocatable": size,
        "addresses": [
            {"type": "InternalIP", "address": ADDRESS},
            {"type": "Hostname", "address": name},
        ],
        "nodeInfo": {
            **dict.fromkeys(("machineID", "systemUUID", "bootID", "kubeProxyVersion"), ""),
            "kernelVersion": platform.release(),
            "osImage": platform.system(),
            "containerRuntimeVersion": "process://",
            "kubeletVersion": "v1.36.2+brownout.embedded",
            "operatingSystem": "linux",
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        },
    }

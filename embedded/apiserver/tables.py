"""Objects as the rows that `kubectl get` prints. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from embedded.apiserver import node as nodes
from embedded.apiserver import pod as pods
from embedded.apiserver.resources import Resource
from embedded.apiserver.selectors import as_text

Object = dict[str, Any]
# A column: name, priority (1: only with -o wide), cell.
Column = tuple[str, int, Callable[[Object], Any]]


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _containers(key: str) -> Callable[[Object], str]:
    return lambda obj: ",".join(c[key] for c in obj["spec"]["template"]["spec"]["containers"])


def _ready(obj: Object) -> str:
    return f"{obj['status'].get('readyReplicas', 0)}/{obj['spec']['replicas']}"


def _status_of_pod(pod: Object) -> str:
    if pods.is_terminating(pod):
        return "Terminating"
    for container in pod["status"].get("containerStatuses", ()):
        if "waiting" in container["state"]:
            return str(container["state"]["waiting"]["reason"])
    return str(pod["status"].get("reason") or pod["status"]["phase"])


def _container_status(pod: Object, key: str) -> Any:
    return next((c[key] for c in pod["status"].get("containerStatuses", ())), 0)


def _status_of_node(node: Object) -> str:
    ready = "Ready" if nodes.is_ready(node) else "NotReady"
    return f"{ready},SchedulingDisabled" if nodes.is_cordoned(node) else ready


def _address(kind: str) -> Callable[[Object], str]:
    return lambda node: next(
        (a["address"] for a in node["status"].get("addresses", ()) if a["type"] == kind), "<none>"
    )


def _machine(key: str) -> Callable[[Object], Any]:
    return lambda node: node["status"].get("nodeInfo", {}).get(key, "")


def _or_none(key: str) -> Callable[[Object], Any]:
    return lambda obj: "N/A" if obj["spec"].get(key) is None else obj["spec"][key]


def _target(scaler: Object) -> str:
    target = scaler["spec"]["scaleTargetRef"]
    return f"{target.get('kind', '')}/{target['name']}"


AGE = "Age"
COLUMNS: dict[str, list[Column]] = {
    "Deployment": [
        ("Ready", 0, _ready),
        ("Up-to-date", 0, lambda obj: obj["status"].get("updatedReplicas", 0)),
        ("Available", 0, lambda obj: obj["status"].get("availableReplicas", 0)),
        (AGE, 0, lambda _: None),
        ("Containers", 1, _containers("name")),
        ("Images", 1, _containers("image")),
        ("Selector", 1, lambda obj: as_text(obj["spec"]["selector"])),
    ],
    "StatefulSet": [
        ("Ready", 0, _ready),
        (AGE, 0, lambda _: None),
        ("Containers", 1, _containers("name")),
        ("Images", 1, _containers("image")),
    ],
    "Pod": [
        ("Ready", 0, lambda pod: f"{int(bool(_container_status(pod, 'ready')))}/1"),
        ("Status", 0, _status_of_pod),
        ("Restarts", 0, lambda pod: str(_container_status(pod, "restartCount"))),
        (AGE, 0, lambda _: None),
        ("IP", 1, lambda pod: pod["status"].get("podIP", "<none>")),
        ("Node", 1, lambda pod: pod["spec"].get("nodeName", "<none>")),
        ("PID", 1, lambda pod: (pod["metadata"].get("annotations") or {}).get(pods.PID, "<none>")),
    ],
    "Node": [
        ("Status", 0, _status_of_node),
        ("Roles", 0, lambda _: "<none>"),
        (AGE, 0, lambda _: None),
        ("Version", 0, _machine("kubeletVersion")),
        ("Internal-IP", 1, _address("InternalIP")),
        ("External-IP", 1, _address("ExternalIP")),
        ("OS-Image", 1, _machine("osImage")),
        ("Kernel-Version", 1, _machine("kernelVersion")),
        ("Container-Runtime", 1, _machine("containerRuntimeVersion")),
    ],
    "NetworkPolicy": [
        ("Pod-Selector", 0, lambda obj: as_text(obj["spec"]["podSelector"]) or "<none>"),
        (AGE, 0, lambda _: None),
    ],
    "PodDisruptionBudget": [
        ("Min Available", 0, _or_none("minAvailable")),
        ("Max Unavailable", 0, _or_none("maxUnavailable")),
        ("Allowed Disruptions", 0, lambda obj: obj["status"]["disruptionsAllowed"]),
        (AGE, 0, lambda _: None),
    ],
    "HorizontalPodAutoscaler": [
        ("Reference", 0, _target),
        ("Targets", 0, lambda _: "<unknown>"),
        ("MinPods", 0, lambda obj: str(obj["spec"]["minReplicas"])),
        ("MaxPods", 0, lambda obj: obj["spec"]["maxReplicas"]),
        ("Replicas", 0, lambda obj: obj["status"].get("currentReplicas", 0)),
        (AGE, 0, lambda _: None),
    ],
    "Lease": [
        ("Holder", 0, lambda obj: (obj.get("spec") or {}).get("holderIdentity", "")),
        (AGE, 0, lambda _: None),
    ],
    "Service": [
        ("Type", 0, lambda obj: obj["spec"]["type"]),
        ("Port(s)", 0, lambda obj: ",".join(f"{p['port']}/{p['protocol']}" for p in obj["spec"]["ports"])),
        (AGE, 0, lambda _: None),
    ],
    "EndpointSlice": [
        ("AddressType", 0, lambda obj: obj["addressType"]),
        ("Ports", 0, lambda obj: ",".join(str(p["port"]) for p in obj["ports"] or ()) or "<unset>"),
        (
            "Endpoints",
            0,
            lambda obj: ",".join(a for e in obj["endpoints"] or () for a in e["addresses"]) or "<unset>",
        ),
        (AGE, 0, lambda _: None),
    ],
    "Namespace": [("Status", 0, lambda obj: obj["status"]["phase"]), (AGE, 0, lambda _: None)],
}


def table(resource: Resource, objects: list[Object], meta: Object, now: float) -> Object:
    columns: list[Column] = [("Name", 0, _name), *COLUMNS.get(resource.kind, [(AGE, 0, lambda _: None)])]
    definitions = [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": f"{name} of the {resource.kind}",
            "priority": priority,
        }
        for name, priority, _ in columns
    ]
    rows = [
        {
            "cells": [_age(obj, now) if name == AGE else cell(obj) for name, _, cell in columns],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj["metadata"],
            },
        }
        for obj in objects
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _age(obj: Object, now: float) -> str:
    seconds = max(0, int(now - datetime.fromisoformat(obj["metadata"]["creationTimestamp"]).timestamp()))
    if seconds < 120:
        return f"{seconds}s"
    return f"{seconds // 60}m" if seconds < 7200 else f"{seconds // 3600}h"

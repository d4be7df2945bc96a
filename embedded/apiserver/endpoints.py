"""The EndpointSlices of a Service, one per address family: which of its Pods get traffic. Pure."""

from __future__ import annotations

import random
import uuid
from typing import Any

from embedded.apiserver import pod as pods

Object = dict[str, Any]
# Each Pod's readiness and its last change, when the slice was last built.
Seen = dict[str, tuple[str, str]]

TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


def slice_of(
    service: Object, family: str, selected: list[Object], old: Object | None, seen: Seen, now: str
) -> tuple[Object, Seen]:
    """(the slice, the `Seen` for the next call); an empty slice has `endpoints: null`.

    A terminating Pod is not ready but still serving; one without an address, or in phase Failed, is not an endpoint.
    """
    shown = [p for p in selected if not pods.is_over(p) and p["status"].get("podIP")]
    endpoints = [_endpoint(p, family) for p in shown]
    changed_now = {p["metadata"]["uid"]: _readiness(p) for p in selected if pods.ready_condition(p)}
    body = {
        "addressType": family,
        "endpoints": endpoints or None,
        "ports": _ports(service, shown[0]) if shown else None,
    }
    if old is None:
        made: Object = {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": _meta(service, now),
            **body,
        }
    elif {key: old[key] for key in body} == body:
        return old, changed_now
    else:
        made = {
            **old,
            **body,
            "metadata": {**old["metadata"], "generation": old["metadata"]["generation"] + 1},
        }
    made["metadata"].pop("annotations", None)
    if fresh := [at for uid, (value, at) in changed_now.items() if seen.get(uid) != (value, at)]:
        made["metadata"]["annotations"] = {TRIGGER: max(fresh)}
    return made, changed_now


def families_of(service: Object) -> list[str]:
    """A Pod here has one IPv4 address; with a dual-stack Service it is in a slice of each family."""
    return list(service["spec"].get("ipFamilies") or ["IPv4"])


def _endpoint(pod: Object, family: str) -> Object:
    serving, terminating = pods.is_ready(pod), pods.is_terminating(pod)
    meta = pod["metadata"]
    return {
        "addresses": [pod["status"]["podIP"] if family == "IPv4" else "::1"],
        "conditions": {"ready": serving and not terminating, "serving": serving, "terminating": terminating},
        "targetRef": {
            "kind": "Pod",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        },
        "nodeName": pod["spec"]["nodeName"],
    }


def _ports(service: Object, pod: Object) -> list[Object]:
    by_name = {
        port.get("name"): port["containerPort"] for port in pod["spec"]["containers"][0].get("ports") or []
    }
    return [
        {
            "name": port.get("name", ""),
            "protocol": port["protocol"],
            "port": by_name.get(port["targetPort"], port["port"])
            if isinstance(port["targetPort"], str)
            else port["targetPort"],
        }
        for port in service["spec"]["ports"]
    ]


def _readiness(pod: Object) -> tuple[str, str]:
    condition = pods.ready_condition(pod)
    assert condition is not None
    return condition["status"], condition["lastTransitionTime"]


def _meta(service: Object, now: str) -> Object:
    meta = service["metadata"]
    return {
        "name": pods.generated(f"{meta['name']}-", random.getrandbits(32)),
        "generateName": f"{meta['name']}-",
        "namespace": meta["namespace"],
        "uid": str(uuid.uuid4()),
        "generation": 1,
        "creationTimestamp": now,
        "labels": {
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "kubernetes.io/service-name": meta["name"],
        },
        "ownerReferences": [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "name": meta["name"],
                "uid": meta["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }

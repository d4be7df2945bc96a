"""The ReplicaSet between a Deployment and its Pods, one per template that it has had. Pure."""

from __future__ import annotations

import copy
import uuid
from typing import Any

Object = dict[str, Any]

HASH = "pod-template-hash"


def uid_of(deployment_uid: str, hash_: str) -> str:
    """The same for the same template, so that a Pod's owner is known without reading the store."""
    return str(uuid.uuid5(uuid.UUID(deployment_uid), hash_))


def is_of(found: Object, deployment_uid: str) -> bool:
    return any(o["uid"] == deployment_uid for o in found["metadata"].get("ownerReferences", ()))


def of(deployment: Object, hash_: str, now: str) -> Object:
    """The ReplicaSet that the Deployment's controller creates; its name is never cut, unlike those of its Pods."""
    meta, spec = deployment["metadata"], deployment["spec"]
    template = copy.deepcopy(spec["template"])
    template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), HASH: hash_}
    selector = copy.deepcopy(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: hash_}
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "kind": "ReplicaSet",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": f"{meta['name']}-{hash_}",
            "namespace": meta["namespace"],
            "uid": uid_of(meta["uid"], hash_),
            "generation": 1,
            "creationTimestamp": now,
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owner],
        },
        "spec": {"replicas": spec["replicas"], "selector": selector, "template": template},
        "status": {"replicas": spec["replicas"]},
    }

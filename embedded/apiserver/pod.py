"""The Pod object: built from a template, updated with the state of its process. Pure; every function returns a new object."""

from __future__ import annotations

import copy
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

PID = "brownout.dev/pid"
NODE = "embedded"
ADDRESS = "127.0.0.1"
# The characters of generated names in Kubernetes: no vowels, so that no words result.
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
NAME_MOST = 63  # of a generated name, and of the value of a label
SUFFIX = 5


def stamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def letters(number: int, length: int) -> str:
    text = ""
    for _ in range(length):
        number, rest = divmod(number, len(LETTERS))
        text += LETTERS[rest]
    return text


def generated(base: str, number: int) -> str:
    """The server's name for a `generateName`: cut to 58 characters, then five random ones."""
    return base[: NAME_MOST - SUFFIX] + letters(number, SUFFIX)


def template_hash(template: Object) -> str:
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return letters(int.from_bytes(digest[:8], "big"), 10)


def new(
    workload: Object, owner: Object, name: str, prefix: str, labels: dict[str, str], uid: str, now: float
) -> Object:
    template = workload["spec"]["template"]
    meta: Object = {
        "name": name,
        "generateName": prefix,
        "namespace": workload["metadata"]["namespace"],
        "uid": uid,
        "generation": 1,
        "creationTimestamp": stamp(now),
        "labels": {**(template["metadata"].get("labels") or {}), **labels},
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }
    if template["metadata"].get("annotations"):
        meta["annotations"] = dict(template["metadata"]["annotations"])
    tolerated = [
        {
            "key": f"node.kubernetes.io/{condition}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        }
        for condition in ("not-ready", "unreachable")
    ]
    spec = {
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "tolerations": tolerated,
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        **copy.deepcopy(template["spec"]),
    }
    if workload["kind"] == "StatefulSet":
        spec["hostname"] = name
        if workload["spec"].get("serviceName"):
            spec["subdomain"] = workload["spec"]["serviceName"]
    status = {"phase": "Pending", "qosClass": "BestEffort"}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": spec, "status": status}


def bound(pod: Object, node: str, now: float) -> Object:
    """The Pod after the scheduler bound it to a Node."""
    pod = copy.deepcopy(pod)
    pod["spec"]["nodeName"] = node
    pod["status"]["conditions"] = [_condition("PodScheduled", True, stamp(now))]
    return pod


def unschedulable(pod: Object, why: str, now: float) -> Object:
    pod = copy.deepcopy(pod)
    old = next(iter(pod["status"].get("conditions", ())), None)
    condition = old or _condition("PodScheduled", False, stamp(now))
    pod["status"]["conditions"] = [{**condition, "reason": "Unschedulable", "message": why}]
    return pod


def is_bound(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))


def is_over(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Failed", "Succeeded")


def is_terminating(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"] and not is_over(pod)


def is_live(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and not is_over(pod)


def ready_condition(pod: Object) -> Object | None:
    return next((c for c in pod["status"].get("conditions", ()) if c["type"] == "Ready"), None)


def is_ready(pod: Object) -> bool:
    condition = ready_condition(pod)
    return condition is not None and condition["status"] == "True"


def ports_of(pod: Object) -> list[int]:
    return [port["containerPort"] for port in pod["spec"]["containers"][0].get("ports") or []]


def deleted(pod: Object, grace_s: float, now: float) -> Object:
    """The Pod marked for deletion, as the API does; the kubelet ends its process."""
    pod = copy.deepcopy(pod)
    pod["metadata"]["deletionTimestamp"] = stamp(now + grace_s)
    pod["metadata"]["deletionGracePeriodSeconds"] = grace_s
    pod["metadata"]["generation"] += 1
    return pod


def running(pod: Object, pid: int, restarts: int, now: float) -> Object:
    """The Pod when its process has just started; readiness is set separately."""
    pod = copy.deepcopy(pod)
    pod["metadata"].setdefault("annotations", {})[PID] = str(pid)
    status = pod["status"]
    status.update(phase="Running", hostIP=ADDRESS, podIP=ADDRESS, podIPs=[{"ip": ADDRESS}])
    status.setdefault("startTime", stamp(now))
    _container(pod)["state"] = {"running": {"startedAt": stamp(now)}}
    _container(pod)["restartCount"] = restarts
    return readiness(pod, False, now)


def waiting(pod: Object, exit_code: int, restarts: int, started_at: float | None, now: float) -> Object:
    """The Pod when its process died or could not start, before a restart."""
    pod = copy.deepcopy(pod)
    pod["metadata"].get("annotations", {}).pop(PID, None)
    container = _container(pod)
    reason = "Completed" if exit_code == 0 else "Error"
    over: Object = {"exitCode": exit_code, "reason": reason, "finishedAt": stamp(now)}
    over["startedAt"] = stamp(started_at) if started_at is not None else None
    container["lastState"] = {"terminated": over}
    container["state"] = {
        "waiting": {"reason": "CrashLoopBackOff", "message": "the process is started again after a while"}
    }
    container["restartCount"] = restarts
    return readiness(pod, False, now)


def readiness(pod: Object, ready: bool, now: float) -> Object:
    pod = copy.deepcopy(pod)
    container = _container(pod)
    # `started` stays: it states that the process once became ready, not that it is healthy.
    container.update(ready=ready, started=ready or (container["started"] and "running" in container["state"]))
    old = {condition["type"]: condition for condition in pod["status"].get("conditions", ())}
    values = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    conditions = [_condition(name, value, stamp(now)) for name, value in values.items()]
    pod["status"]["conditions"] = [
        old[c["type"]] if old.get(c["type"], {}).get("status") == c["status"] else c for c in conditions
    ]
    return pod


def _container(pod: Object) -> Object:
    statuses = pod["status"].setdefault("containerStatuses", [])
    if not statuses:
        spec = pod["spec"]["containers"][0]
        statuses.append(
            {
                "name": spec["name"],
                "state": {},
                "lastState": {},
                "ready": False,
                "restartCount": 0,
                "image": spec["image"],
                "imageID": "",
                "started": False,
            }
        )
    return statuses[0]


def _condition(name: str, value: bool, at: str) -> Object:
    return {"type": name, "status": str(value), "lastProbeTime": None, "lastTransitionTime": at}

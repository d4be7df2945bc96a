"""A workload's status, and the plan of its controller. Pure: workload and Pods in, status or plan out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embedded.apiserver import pod

Object = dict[str, Any]


@dataclass
class Plan:
    """Names of Pods to delete; how many to create (Deployment), or with which ordinals (StatefulSet)."""

    delete: list[str] = field(default_factory=list)
    create: int = 0
    ordinals: list[int] = field(default_factory=list)


def deployment_seen(workload: Object, pods: list[Object], now: str) -> Object:
    """The first status of a new generation: observed, Pods not yet counted."""
    conditions = _conditions(workload, pods, now)
    return {
        **workload.get("status", {}),
        "observedGeneration": _generation(workload),
        "conditions": conditions,
    }


def deployment_counted(workload: Object, pods: list[Object], now: str, denied: str | None = None) -> Object:
    """A count of zero is absent: Go omits it. Terminating Pods are counted separately, since 1.35. `denied`: why a Pod could
    not be created; reported as long as that lasts."""
    live = [p for p in pods if pod.is_live(p)]
    ready = sum(pod.is_ready(p) for p in live)
    current = pod.template_hash(workload["spec"]["template"])
    counts = {
        "replicas": len(live),
        "updatedReplicas": sum(p["metadata"]["labels"].get("pod-template-hash") == current for p in live),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, workload["spec"]["replicas"] - ready),
    }
    return {
        "observedGeneration": _generation(workload),
        **{key: count for key, count in counts.items() if count},
        "terminatingReplicas": sum(pod.is_terminating(p) for p in pods),
        "conditions": _failure(_conditions(workload, pods, now), denied, now),
    }


def stateful_counted(workload: Object, pods: list[Object]) -> Object:
    """Counts all existing Pods, terminating or not; `replicas` and `availableReplicas` can be an explicit 0."""
    existing = [p for p in pods if not pod.is_over(p)]
    ready = sum(pod.is_ready(p) for p in existing)
    revision = f"{workload['metadata']['name']}-{pod.template_hash(workload['spec']['template'])}"
    current = sum(
        pod.is_live(p) and p["metadata"]["labels"].get("controller-revision-hash") == revision
        for p in existing
    )
    optional = {"readyReplicas": ready, "currentReplicas": current, "updatedReplicas": current}
    return {
        "observedGeneration": _generation(workload),
        "replicas": len(existing),
        **{key: count for key, count in optional.items() if count},
        "currentRevision": revision,
        "updateRevision": revision,
        "collisionCount": 0,
        "availableReplicas": ready,
    }


def deployment_plan(workload: Object, pods: list[Object]) -> Plan:
    """A changed template is rolled out as with strategy Recreate: two processes cannot hold one port."""
    current = pod.template_hash(workload["spec"]["template"])
    live = [p for p in pods if pod.is_live(p)]
    kept = [p for p in live if p["metadata"]["labels"].get("pod-template-hash") == current]
    # Pods that are not ready are deleted first, then the youngest.
    kept.sort(key=lambda p: (pod.is_ready(p), -int(p["metadata"]["resourceVersion"])), reverse=True)
    replicas = workload["spec"]["replicas"]
    surplus = [p for p in live if p not in kept] + kept[replicas:]
    return Plan([p["metadata"]["name"] for p in surplus], max(0, replicas - len(kept)))


def stateful_plan(workload: Object, pods: list[Object]) -> Plan:
    """One step at a time, in the order of the ordinals: creates up from 0, deletes down from the highest."""
    name = workload["metadata"]["name"]
    revision = f"{name}-{pod.template_hash(workload['spec']['template'])}"
    by_ordinal = {int(p["metadata"]["name"].removeprefix(f"{name}-")): p for p in pods}
    for p in pods:
        if pod.is_over(p):
            return Plan([p["metadata"]["name"]])
    for ordinal in sorted(by_ordinal, reverse=True):
        p = by_ordinal[ordinal]
        if (
            ordinal >= workload["spec"]["replicas"]
            or p["metadata"]["labels"].get("controller-revision-hash") != revision
        ):
            return Plan([p["metadata"]["name"]] if pod.is_live(p) else [])
    for ordinal in range(workload["spec"]["replicas"]):
        found = by_ordinal.get(ordinal)
        if found is None:
            return Plan(ordinals=[ordinal])
        if not pod.is_ready(found) or not pod.is_live(found):
            return Plan()
    return Plan()


def _generation(workload: Object) -> int:
    return workload["metadata"]["generation"]


def _conditions(workload: Object, pods: list[Object], now: str) -> list[Object]:
    replicas = workload["spec"]["replicas"]
    available = sum(pod.is_ready(p) for p in pods if pod.is_live(p))
    # maxUnavailable is 25 %, rounded down.
    enough = available >= replicas - replicas // 4
    conditions = list(workload.get("status", {}).get("conditions", []))
    if enough:
        _set(
            conditions,
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now,
        )
    else:
        _set(
            conditions,
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now,
        )
    replica_set = f"{workload['metadata']['name']}-{pod.template_hash(workload['spec']['template'])}"
    done = f'ReplicaSet "{replica_set}" has successfully progressed.'
    # A completed rollout stays complete, whatever happens to its Pods; scaling is not progress.
    if available >= replicas or any(c["message"] == done for c in conditions):
        _set(conditions, "Progressing", "True", "NewReplicaSetAvailable", done, now)
    else:
        _set(
            conditions,
            "Progressing",
            "True",
            "ReplicaSetUpdated",
            f'ReplicaSet "{replica_set}" is progressing.',
            now,
        )
    return conditions


def _failure(conditions: list[Object], denied: str | None, now: str) -> list[Object]:
    if denied is None:
        return [c for c in conditions if c["type"] != "ReplicaFailure"]
    _set(conditions, "ReplicaFailure", "True", "FailedCreate", denied, now)
    return conditions


def _set(conditions: list[Object], name: str, value: str, reason: str, message: str, now: str) -> None:
    """A changed condition moves to the end of the list; its transition time changes only with its status."""
    old = next((c for c in conditions if c["type"] == name), None)
    if old and (old["status"], old["reason"], old["message"]) == (value, reason, message):
        return
    since = old["lastTransitionTime"] if old and old["status"] == value else now
    if old:
        conditions.remove(old)
    conditions.append(
        {
            "type": name,
            "status": value,
            "lastUpdateTime": now,
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        }
    )

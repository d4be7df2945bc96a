"""A HorizontalPodAutoscaler without metrics: its effect and its status. Pure: it and its target in.

There is no metrics server here, so it moves replicas only into its bounds, which needs no metrics: up to minReplicas, down
to maxReplicas. Zero replicas disable it. Its conditions state why it does no more.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

NO_METRICS = (
    "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource"
    " cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource"
    " (get pods.metrics.k8s.io)"
)
# Conditions AbleToScale and ScalingActive, as (status, reason, message).
FOUND = ("True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
LOST = (
    "False",
    "FailedGetScale",
    "the HPA controller was unable to get the target's current scale: not found",
)
DISABLED = (
    "False",
    "ScalingDisabled",
    "scaling is disabled since the replica count of the target is zero",
)
UNMEASURED = ("False", "FailedGetResourceMetric", NO_METRICS)


# The field manager of its controller.
MANAGER = "kube-controller-manager"


def moves_to(scaler: Object, target: Object) -> int | None:
    """The replicas that it sets on its target; None: no change."""
    replicas, least, most = (
        target["spec"]["replicas"],
        scaler["spec"]["minReplicas"],
        scaler["spec"]["maxReplicas"],
    )
    bounded = min(max(replicas, least), most)
    return None if replicas in (0, bounded) else int(bounded)


def status_of(scaler: Object, target: Object | None, now: str) -> Object:
    """`target`: the workload that it names, None if that does not exist. A count of zero is omitted."""
    replicas = target["spec"]["replicas"] if target else 0
    conditions = {"AbleToScale": FOUND if target else LOST}
    if target:
        conditions["ScalingActive"] = UNMEASURED if replicas else DISABLED
    return {
        **({"currentReplicas": replicas} if replicas else {}),
        "desiredReplicas": 0,
        "currentMetrics": [{"type": ""}] if replicas else None,
        "conditions": [_condition(scaler, name, *words, now) for name, words in conditions.items()],
    }


def _condition(scaler: Object, name: str, value: str, reason: str, message: str, now: str) -> Object:
    old = next((c for c in scaler["status"].get("conditions") or () if c["type"] == name), None)
    since = old["lastTransitionTime"] if old and old["status"] == value else now
    return {"type": name, "status": value, "lastTransitionTime": since, "reason": reason, "message": message}

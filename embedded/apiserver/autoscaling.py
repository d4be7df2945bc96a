"""What a HorizontalPodAutoscaler says of itself where nothing is measured. Pure: it and its target in, its status out.

There is no metrics server here, so it never moves any replicas; it says why, and that it is disabled at zero.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

NO_METRICS = (
    "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource"
    " cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource"
    " (get pods.metrics.k8s.io)"
)
# What is said of the target's scale, and of the scaling, as (status, reason, message).
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


def status_of(scaler: Object, target: Object | None, now: str) -> Object:
    """`target` is the workload that it names, or None where there is none; of zero the count is left out."""
    replicas = target["spec"]["replicas"] if target else 0
    told = {"AbleToScale": FOUND if target else LOST}
    if target:
        told["ScalingActive"] = UNMEASURED if replicas else DISABLED
    return {
        **({"currentReplicas": replicas} if replicas else {}),
        "desiredReplicas": 0,
        "currentMetrics": [{"type": ""}] if replicas else None,
        "conditions": [_condition(scaler, name, *words, now) for name, words in told.items()],
    }


def _condition(scaler: Object, name: str, value: str, reason: str, message: str, now: str) -> Object:
    old = next((c for c in scaler["status"].get("conditions") or () if c["type"] == name), None)
    since = old["lastTransitionTime"] if old and old["status"] == value else now
    return {"type": name, "status": value, "lastTransitionTime": since, "reason": reason, "message": message}

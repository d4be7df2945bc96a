"""PodDisruptionBudgets: the allowed disruptions, and the answer to an eviction. Pure: budget, Pods and counts in."""

from __future__ import annotations

from typing import Any

from embedded.apiserver import pod as pods
from embedded.apiserver.errors import ApiError, too_many_disruptions
from embedded.apiserver.selectors import fits

Object = dict[str, Any]


def covers(budget: Object, pod: Object) -> bool:
    """Without a selector it covers nothing; with an empty one, every Pod of its namespace."""
    selector = budget["spec"].get("selector")
    return selector is not None and fits(pod["metadata"].get("labels") or {}, selector)


def status_of(budget: Object, covered: list[Object], replicas: int, now: str) -> Object:
    """`replicas`: the desired Pods of the workloads of the covered Pods. A terminating Pod is not healthy."""
    spec = budget["spec"]
    live = [p for p in covered if not pods.is_over(p)]
    healthy = sum(pods.is_ready(p) and pods.is_live(p) for p in live)
    if spec.get("maxUnavailable") is not None:
        expected = replicas
        desired = max(0, expected - _share(spec["maxUnavailable"], expected))
    else:
        # The default is 1: a budget without counts requires one Pod.
        least = 1 if spec.get("minAvailable") is None else spec["minAvailable"]
        expected = replicas if isinstance(least, str) else len(live)
        desired = _share(least, expected)
    allowed = max(0, healthy - desired) if expected else 0
    return {
        "observedGeneration": budget["metadata"]["generation"],
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": [_condition(budget, allowed, now)],
    }


def is_always_evictable(pod: Object) -> bool:
    """A Pod that is not running may always be evicted."""
    return pod["status"].get("phase") != "Running" or not pods.is_live(pod)


def refusal(budget: Object, status: Object, pod: Object) -> ApiError | None:
    """Why a covered Pod cannot be evicted, or None."""
    enough = status["currentHealthy"] >= status["desiredHealthy"] > 0
    always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
    if not pods.is_ready(pod) and (always or enough):
        return None
    if status["disruptionsAllowed"] > 0:
        return None
    needs = f"needs {status['desiredHealthy']} healthy pods and has {status['currentHealthy']} currently"
    return too_many_disruptions(budget["metadata"]["name"], needs)


def _share(value: int | str, of: int) -> int:
    """A percentage is rounded up, for minAvailable and maxUnavailable alike."""
    return -(-int(value.rstrip("%")) * of // 100) if isinstance(value, str) else value


def _condition(budget: Object, allowed: int, now: str) -> Object:
    made = {
        "type": "DisruptionAllowed",
        "status": str(allowed > 0),
        "observedGeneration": budget["metadata"]["generation"],
        "lastTransitionTime": now,
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
    }
    for old in (budget.get("status") or {}).get("conditions") or ():
        if old["status"] == made["status"]:
            made["lastTransitionTime"] = old["lastTransitionTime"]
    return made

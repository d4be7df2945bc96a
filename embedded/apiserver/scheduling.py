"""The scheduler's choice of a Node for a new Pod. Pure: a Pod, Nodes and Pods in, a Pod out.

Supported: cordons, readiness, nodeSelector, taints and tolerations. Not supported: affinity, resources, preemption.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from embedded.apiserver import node as nodes
from embedded.apiserver import pod as pods

Object = dict[str, Any]


def scheduled(pod: Object, candidates: list[Object], others: list[Object], now: float) -> Object:
    """The Pod, bound to the fitting Node with the fewest Pods; if none fits, Pending with the reason in a condition."""
    # A template with a nodeName bypasses the scheduler.
    if name := pod["spec"].get("nodeName"):
        return pods.bound(pod, name, now)
    reasons = {node["metadata"]["name"]: _objection(pod, node) for node in candidates}
    fitting = [name for name, reason in reasons.items() if reason is None]
    if not fitting:
        return pods.unschedulable(pod, _message([reason for reason in reasons.values() if reason]), now)
    taken = Counter(other["spec"].get("nodeName") for other in others if pods.is_live(other))
    return pods.bound(pod, min(fitting, key=lambda name: (taken[name], name)), now)


def _objection(pod: Object, node: Object) -> str | None:
    """The scheduler's message, in the order of its filters; None if the Node fits."""
    if nodes.is_cordoned(node) and not _tolerated(nodes.CORDONED, pod):
        return "node(s) were unschedulable"
    if not nodes.is_ready(node):
        return "node(s) had untolerated taint(s)"
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] in ("NoSchedule", "NoExecute") and not _tolerated(taint, pod):
            return "node(s) had untolerated taint(s)"
    selector, labels = pod["spec"].get("nodeSelector") or {}, node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    return None


def _tolerated(taint: Object, pod: Object) -> bool:
    return any(
        toleration.get("key") in (None, "", taint["key"])
        and toleration.get("effect") in (None, "", taint["effect"])
        and (toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", ""))
        for toleration in pod["spec"].get("tolerations") or ()
    )


def _message(reasons: list[str]) -> str:
    counted = ", ".join(sorted(f"{count} {reason}" for reason, count in Counter(reasons).items()))
    return (
        f"0/{len(reasons)} nodes are available: {counted}."
        if reasons
        else "no nodes available to schedule pods"
    )

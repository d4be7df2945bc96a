"""Whether NetworkPolicies cut a Pod off from whoever asks it. Pure: a Pod and policies in, yes or no out.

A policy with any ingress rule lets everybody in here, whoever its peers are: on one machine they all have one address.
One that speaks of egress alone does nothing.
"""

from __future__ import annotations

from typing import Any

from embedded.apiserver.selectors import fits

Object = dict[str, Any]


def is_cut_off(pod: Object, policies: list[Object]) -> bool:
    """Selected by a policy for Ingress, and by none that allows any: policies only add up."""
    meta = pod["metadata"]
    selecting = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == meta["namespace"]
        and "Ingress" in policy["spec"]["policyTypes"]
        and fits(meta.get("labels") or {}, policy["spec"]["podSelector"])
    ]
    return bool(selecting) and not any(policy["spec"].get("ingress") for policy in selecting)

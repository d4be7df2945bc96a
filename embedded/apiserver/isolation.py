"""Whether NetworkPolicies block a Pod's ingress. Pure: a Pod and policies in, a bool out.

A policy with any ingress rule allows every client here, whatever its peers: on one machine all clients have the same
address. A policy for egress only has no effect.
"""

from __future__ import annotations

from typing import Any

from embedded.apiserver.selectors import fits

Object = dict[str, Any]


def is_cut_off(pod: Object, policies: list[Object]) -> bool:
    """True if an Ingress policy selects the Pod and no such policy allows any ingress: policies are additive."""
    meta = pod["metadata"]
    selecting = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == meta["namespace"]
        and "Ingress" in policy["spec"]["policyTypes"]
        and fits(meta.get("labels") or {}, policy["spec"]["podSelector"])
    ]
    return bool(selecting) and not any(policy["spec"].get("ingress") for policy in selecting)

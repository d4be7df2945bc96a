"""Blocks all traffic to the Pods of a Deployment or a StatefulSet, by a NetworkPolicy that selects them and allows nothing.

The Pods keep running and stay ready: the kubelet's probes are not blocked. Needs a network plugin that enforces
policies. Refused where another policy allows traffic to these Pods, since policies are additive, and where no Pod is
ready. Effective when the policy exists and a request gets no answer. Restored when the policy is gone, and as many Pods
are ready and served as before.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

from chaos.errors import CannotInject, Foreign
from chaos.fault import Deadman, Fault, NoOptions, Recorded
from chaos.kube.cluster import API_ERRORS, MANAGER, Cluster, managers
from chaos.kube.names import LABEL, name_of
from chaos.kube.right import Right
from chaos.kube.workload import KINDS, Original, Selector, Workload
from chaos.target import Target

GROUP = "networking.k8s.io"
LOOK_S = 1.0
OURS = "brownout.dev/blackhole"  # the token of the run that created it


class State(Recorded):
    uid: str
    token: str
    original: Original
    selector: Selector | None = None


class NetworkBlackhole(Fault):
    kinds = KINDS
    recorded = State
    deadman = Deadman.REAPER
    by_sending = True

    def __init__(self, cluster: Cluster | None, target: Target, options: NoOptions) -> None:
        assert cluster is not None
        self._cluster, self._workload = cluster, Workload(cluster, target.handle)
        self._name = name_of(target.handle.kind, target.handle.name)

    def snapshot(self) -> dict[str, Any]:
        workload = self._workload
        found = workload.read()
        uid, selector = found["metadata"]["uid"], found["spec"]["selector"]
        seen = workload.look(uid, selector)
        if not seen.pods:
            raise CannotInject(f"{workload} has no live Pods: there is nothing to take away")
        if self._policy() is not None:
            raise CannotInject(
                f"{self} already exists, left by a run that did not restore, or created by someone else: make restore, "
                f"or kubectl delete networkpolicy -n {workload.namespace} {self._name}"
            )
        allowing = self._allowing(seen.pods)
        if allowing:
            raise CannotInject(
                f"NetworkPolicies are additive: traffic to {workload} is still allowed by "
                f"{', '.join(allowing)}"
            )
        return {
            "uid": uid,
            "original": workload.original(found, seen),
            "set": {"policy": self._name},
            "selector": selector,
            "token": secrets.token_hex(8),
        }

    def inject(self, state: dict[str, Any]) -> None:
        words = self._workload.abandoned(state["uid"])
        if words:
            raise CannotInject(words)
        made = self._cluster.create_network_policy(self._workload.namespace, self._body(state))
        made = made or self._policy()  # or an earlier try arrived, and only its answer was lost
        if not self._is_ours(made, state):
            raise CannotInject(f"{self} was created by someone else meanwhile")
        if not self._cuts_off(made, state):
            raise CannotInject(f"{self} differs from the request: the cluster's admission changes it")

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        found = self._policy()
        ours = self._is_ours(found, state) and self._cuts_off(found, state)
        return {"policy": self._name} if ours else None

    def restore(self, state: dict[str, Any]) -> None:
        found = self._policy()
        if found is not None and not self._is_ours(found, state):
            raise Foreign(f"{self} belongs to someone else and is left alone; ours is gone")
        if found is not None:
            namespace, uid = self._workload.namespace, found["metadata"]["uid"]
            self._cluster.delete_network_policy(namespace, self._name, uid)
        # Only after the policy is gone: it would block any later Pod with these labels.
        words = self._workload.abandoned(state["uid"])
        if words:
            raise Foreign(words)

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return None if self._policy() is not None else self._workload.back(state["original"])

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        while not over():
            try:
                gone = not self._is_ours(self._policy(), state)
            except API_ERRORS:
                gone = False  # unknown for now
            if gone and not over():
                return f"{self} was deleted by someone else"
            time.sleep(LOOK_S)
        return None

    @property
    def missing(self) -> str:
        return self._workload.missing

    def remarks(self, state: dict[str, Any]) -> list[str]:
        return self._workload.remarks(state["original"])

    def rights(self) -> list[Right]:
        namespace = self._workload.namespace
        found = [Right(v, GROUP, "networkpolicies", namespace) for v in ("create", "list")]
        found += [Right(v, GROUP, "networkpolicies", namespace, self._name) for v in ("get", "delete")]
        return [*self._workload.rights(watched=False), *found]

    def others(self) -> list[str]:
        return [
            "a network plugin that does not enforce NetworkPolicies, or allows traffic in another way: then the "
            "tier keeps answering, and the step fails as not effective",
            "connections that are already open: some plugins keep them until they end",
        ]

    def __str__(self) -> str:
        return f"NetworkPolicy {self._workload.namespace}/{self._name}"

    def _policy(self) -> dict[str, Any] | None:
        return self._cluster.network_policy(self._workload.namespace, self._name)

    def _body(self, state: dict[str, Any]) -> dict[str, Any]:
        key, _, value = LABEL.partition("=")
        meta = {"name": self._name, "labels": {key: value}, "annotations": {OURS: state["token"]}}
        return {
            "apiVersion": f"{GROUP}/v1",
            "kind": "NetworkPolicy",
            "metadata": meta,
            "spec": {"podSelector": state["selector"], "policyTypes": ["Ingress"]},
        }

    def _is_ours(self, found: dict[str, Any] | None, state: dict[str, Any]) -> bool:
        if found is None:
            return False
        token = (found["metadata"].get("annotations") or {}).get(OURS)
        # Where admission has removed the token: by the manager that wrote it.
        return token == state["token"] or (
            token is None and managers(found, "spec", "podSelector") == {MANAGER}
        )

    def _cuts_off(self, found: dict[str, Any] | None, state: dict[str, Any]) -> bool:
        """Whether it selects these Pods and allows no ingress, whatever else admission has changed."""
        spec = (found or {}).get("spec") or {}
        selects = (spec.get("podSelector") or {}) == state["selector"]
        return selects and "Ingress" in (spec.get("policyTypes") or ()) and not spec.get("ingress")

    def _allowing(self, of: list[dict[str, Any]]) -> list[str]:
        """The policies that allow ingress to these Pods. The cluster evaluates their selectors."""
        pods = {p["metadata"]["uid"] for p in of}
        found = []
        for policy in self._cluster.network_policies(self._workload.namespace):
            spec = policy["spec"]
            if "Ingress" not in (spec.get("policyTypes") or ["Ingress"]) or not spec.get("ingress"):
                continue
            selected = self._cluster.pods(self._workload.namespace, spec.get("podSelector") or {})
            if pods & {p["metadata"]["uid"] for p in selected}:
                found.append(policy["metadata"]["name"])
        return found


FAULT = NetworkBlackhole

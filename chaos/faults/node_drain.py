"""Cordons a node and evicts its Pods, as kubectl drain does; then uncordons it.

Evicts all Pods of the node, also those of other owners, except Pods of DaemonSets, static Pods, and brownout's own
(labelled app.kubernetes.io/part-of: brownout), since the reaper must not be evicted. Refused where a Pod has no controller:
it would be lost. A refused eviction (a PodDisruptionBudget or another reason) is requested again and does not delay other
Pods. Effective when no Pod that must go remains: a Pod may take its whole terminationGracePeriodSeconds, which is waited
for as long as the step lasts. Restored when the node is ready and schedulable. Pods that moved to another node stay there.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

from chaos.errors import Altered, CannotInject, Foreign, NotYet
from chaos.fault import Deadman, Fault, NoOptions, Recorded
from chaos.kube.cluster import API_ERRORS, MANAGER, Cluster, api_error_text, managers
from chaos.kube.right import Right
from chaos.kube.workload import controller, grace_s, is_ready, staying
from chaos.target import Target

# How long a write is repeated after conflicts: a kubelet writes its node's status too.
CONFLICTS_S = 5.0
NAMED = 10  # refused evictions that are listed; the others are counted
# Consecutive evictions without an answer before giving up: each may take its whole timeout.
UNANSWERED = 2
LOOK_S = 1.0
OURS = "brownout.dev/cordon"  # the token of the run that cordoned: a cordon itself has no owner
_TAINT = "node.kubernetes.io/unschedulable"
_MIRROR = "kubernetes.io/config.mirror"
_PART_OF = "app.kubernetes.io/part-of"


class State(Recorded):
    uid: str
    token: str
    grace_s: float = 0.0


class NodeDrain(Fault):
    kinds = ("node",)
    recorded = State
    deadman = Deadman.REAPER

    def __init__(self, cluster: Cluster | None, target: Target, options: NoOptions) -> None:
        assert cluster is not None
        self._cluster, self._name = cluster, target.handle.name
        self._tried = False

    def snapshot(self) -> dict[str, Any]:
        node = self._cluster.node(self._name)
        if node is None:
            raise CannotInject(f"there is no {self}")
        if _cordoned(node):
            raise CannotInject(
                f"{self} is already cordoned by someone else; restoring would remove that cordon: "
                f"kubectl uncordon {self._name}"
            )
        if not is_ready(node):
            raise CannotInject(f"{self} is not ready: there is nothing to take away")
        pods = self._to_go()
        lost = [_name(p) for p in self._subject() if not controller(p)]
        if lost:
            raise CannotInject(
                f"{self} has Pods without a controller, which would not be recreated: {', '.join(lost)}"
            )
        if not pods:
            raise CannotInject(f"{self} has no Pods that would be evicted: there is nothing to take away")
        return {
            "uid": node["metadata"]["uid"],
            "original": {"schedulable": True, "pods": [_name(p) for p in pods]},
            "set": {"schedulable": False, "evicted": len(pods)},
            "grace_s": grace_s(pods),
            "token": secrets.token_hex(8),
        }

    def inject(self, state: dict[str, Any]) -> None:
        self._cordon(state)
        self._evict()

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        refused = self._evict()
        if refused:
            more = [f"and {len(refused) - NAMED} others"] if len(refused) > NAMED else []
            raise NotYet("; ".join([*refused[:NAMED], *more]))
        left = self._to_go()
        if left:
            going = len(left) - len(staying(left))
            raise NotYet(
                f"{len(left)} Pods remain, {going} of them terminating, which may take {grace_s(left):.0f} s"
            )
        return {"schedulable": False, "pods": 0}

    def takes_s(self, state: dict[str, Any]) -> float:
        return float(state["grace_s"])

    def restore(self, state: dict[str, Any]) -> None:
        while True:
            node = self._cluster.node(self._name)
            if node is None:
                raise Foreign(f"{self} was removed from the cluster by someone else")
            if node["metadata"]["uid"] != state["uid"]:
                raise Foreign(f"{self} was re-created; the new one is left alone")
            ours = self._is_ours(node, state)
            if _cordoned(node) and not ours:
                raise Foreign(f"{self} was cordoned by someone else and is left alone")
            # A node that someone else uncordoned still has our token.
            if not ours:
                return
            done = self._cluster.set_schedulable(node, True, {OURS: None})
            if done is not None:
                if _cordoned(done) or _token(done) is not None:
                    raise Altered(f"{self} was uncordoned, but the cluster returned {_shown(done)}")
                return

    def disarm(self, state: dict[str, Any]) -> None:
        """After someone else has uncordoned it, the restore had nothing to do: remove only our token."""
        while True:
            node = self._cluster.node(self._name)
            if node is None or node["metadata"]["uid"] != state["uid"] or _token(node) != state["token"]:
                return
            if self._cluster.set_schedulable(node, not _cordoned(node), {OURS: None}) is not None:
                return

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        node = self._cluster.node(self._name)
        if node is None:
            raise Foreign(f"{self} was removed from the cluster by someone else")
        if _cordoned(node) or not is_ready(node):
            return None
        if any(t["key"] == _TAINT for t in node["spec"].get("taints") or ()):
            return None  # removed after the cordon; until then no Pod is scheduled there
        return {"schedulable": True, "ready": True}

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        while not over():
            try:
                node = self._cluster.node(self._name)
            except API_ERRORS:
                node = {}  # unknown for now
            if over():
                return None
            if node is None:
                return f"{self} was removed from the cluster by someone else"
            if node and node["metadata"]["uid"] != state["uid"]:
                return f"{self} was re-created by someone else"
            if node and not _cordoned(node):
                return f"{self} was uncordoned by someone else"
            time.sleep(LOOK_S)
        return None

    def rights(self) -> list[Right]:
        return [
            Right("get", "", "nodes", None, self._name),
            Right("patch", "", "nodes", None, self._name),
            Right("list", "", "pods", None),
            Right("create", "", "pods/eviction", None),
        ]

    def others(self) -> list[str]:
        pods = self._to_go()
        if not pods:
            return []
        found = [
            f"the eviction of all Pods of the node, also of other owners: {', '.join(_name(p) for p in pods)}; Pods that "
            "move to another node stay there after the restore"
        ]
        emptied = [_name(p) for p in pods if any("emptyDir" in v for v in p["spec"].get("volumes") or ())]
        if emptied:
            found.append(f"the loss of the emptyDir data of {', '.join(emptied)}")
        return found

    def __str__(self) -> str:
        return f"node {self._name}"

    def _cordon(self, state: dict[str, Any]) -> None:
        over = time.monotonic() + CONFLICTS_S
        while True:
            node = self._cluster.node(self._name)
            if node is None or node["metadata"]["uid"] != state["uid"]:
                raise CannotInject(f"{self} was removed or re-created after the snapshot")
            if _cordoned(node):
                if _token(node) == state["token"]:
                    return  # an earlier try arrived, and only its answer was lost
                if self._tried and self._is_ours(node, state):
                    raise CannotInject(self._altered(node))
                raise CannotInject(f"{self} was cordoned by someone else after the snapshot")
            # Conditional on the version just read: a delayed write meets a conflict.
            self._tried = True
            done = self._cluster.set_schedulable(node, False, {OURS: state["token"]})
            if done is not None:
                if not _cordoned(done) or _token(done) != state["token"]:
                    raise CannotInject(self._altered(done))
                return
            if time.monotonic() > over:
                raise CannotInject(
                    f"{self} is being changed by someone else: only conflicts for {CONFLICTS_S:.0f} s"
                )

    def _is_ours(self, node: dict[str, Any], state: dict[str, Any]) -> bool:
        """By our token, unless another manager wrote the cordon: someone who uncordons and cordons again keeps the token. Where
        admission has removed the token, by the cordon's manager alone. A cordon without a manager is ours: admission made
        it from our uncordon, which removes the field."""
        found, wrote = _token(node), managers(node, "spec", "unschedulable")
        if found == state["token"]:
            return not (_cordoned(node) and wrote and MANAGER not in wrote)
        return found is None and _cordoned(node) and wrote in ({MANAGER}, set())

    def _altered(self, node: dict[str, Any]) -> str:
        return f"{self} was cordoned, but the cluster returned {_shown(node)}: its admission changes a cordon"

    def _evict(self) -> list[str]:
        """Request the eviction of all Pods that must go; which were refused, and why. A refusal does not stop the others. Raises
        API_ERRORS where the API server does not answer."""
        refused, unanswered = [], 0
        for pod in staying(self._to_go()):
            meta = pod["metadata"]
            try:
                why = self._cluster.evict(meta["namespace"], meta["name"], meta["uid"])
                unanswered = 0
            except API_ERRORS as e:
                unanswered += 1
                if unanswered == UNANSWERED:
                    raise
                why = api_error_text(e)
            if why:
                refused.append(f"{_name(pod)}: {why}")
        return refused

    def _subject(self) -> list[dict[str, Any]]:
        return [p for p in self._cluster.pods_on(self._name) if not _stays(p)]

    def _to_go(self) -> list[dict[str, Any]]:
        # The snapshot refuses Pods without a controller; one that came later must not be lost either.
        return [p for p in self._subject() if controller(p)]


def _stays(pod: dict[str, Any]) -> bool:
    meta = pod["metadata"]
    owner = controller(pod)
    return (
        _MIRROR in (meta.get("annotations") or {})
        or (owner is not None and owner["kind"] == "DaemonSet")
        or (meta.get("labels") or {}).get(_PART_OF) == "brownout"
    )


def _cordoned(node: dict[str, Any]) -> bool:
    return bool(node["spec"].get("unschedulable"))


def _token(node: dict[str, Any]) -> str | None:
    found = (node["metadata"].get("annotations") or {}).get(OURS)
    return None if found is None else str(found)


def _shown(node: dict[str, Any]) -> str:
    token = "without" if _token(node) is None else "with"
    return f"a node that is {'cordoned' if _cordoned(node) else 'not cordoned'} and {token} our token"


def _name(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


FAULT = NodeDrain

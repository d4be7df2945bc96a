"""Cordons a node and evicts its Pods, as kubectl drain does; then uncordons it.

All Pods of the node go, whosever they are, but for those of DaemonSets, static ones, and brownout's own (labelled
app.kubernetes.io/part-of: brownout): what restores must not be evicted. One that has no controller would be lost for ever,
so the fault is refused. An eviction that is refused, by a PodDisruptionBudget or for another reason, is requested again, and keeps no other Pod. Effective when no Pod is left
that was to go: a Pod may take its whole terminationGracePeriodSeconds, which is waited for as long as the step lasts; restored when the node is ready and takes Pods. Those that found another node stay there.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

from chaos.errors import Altered, CannotInject, Foreign, NotYet
from chaos.fault import Deadman, Fault, NoOptions
from chaos.kube.cluster import API_ERRORS, MANAGER, Cluster, error_text, managers
from chaos.kube.right import Right
from chaos.kube.workload import controller, grace_s, is_ready, staying
from chaos.target import Target

# So long a write that met a newer version is made again: a kubelet writes its node's status too.
CONFLICTS_S = 5.0
NAMED = 10  # so many refused evictions are named; of the others there is the number
# Evictions in a row that got no answer: the API server is away, and each may take its whole timeout.
UNANSWERED = 2
LOOK_S = 1.0
OURS = "brownout.dev/cordon"  # the token of whoever cordoned: one cordon looks like any other
_TAINT = "node.kubernetes.io/unschedulable"
_MIRROR = "kubernetes.io/config.mirror"
_PART_OF = "app.kubernetes.io/part-of"


class NodeDrain(Fault):
    kinds = ("node",)
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
                f"{self} is cordoned already: whose cordon it is cannot be told, and the restore would take it away; "
                f"kubectl uncordon {self._name}"
            )
        if not is_ready(node):
            raise CannotInject(f"{self} is not ready: there is nothing to take away")
        pods = self._to_go()
        lost = [_name(p) for p in self._subject() if not controller(p)]
        if lost:
            raise CannotInject(
                f"{self} has Pods without a controller, whom nobody would make again: {', '.join(lost)}"
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
                f"{len(left)} Pods are left, {going} of them terminating, which may take {grace_s(left):.0f} s"
            )
        return {"schedulable": False, "pods": 0}

    def takes_s(self, state: dict[str, Any]) -> float:
        return float(state["grace_s"])

    def restore(self, state: dict[str, Any]) -> None:
        while True:
            node = self._cluster.node(self._name)
            if node is None:
                raise Foreign(f"{self} was taken out of the cluster by someone else")
            if node["metadata"]["uid"] != state["uid"]:
                raise Foreign(f"{self} was re-created; the new one is left alone")
            ours = self._is_ours(node, state)
            if _cordoned(node) and not ours:
                raise Foreign(f"{self} was cordoned by someone else and is left alone")
            # One that someone else has uncordoned still wears our token.
            if not ours:
                return
            done = self._cluster.set_schedulable(node, True, {OURS: None})
            if done is not None:
                if _cordoned(done) or _token(done) is not None:
                    raise Altered(f"{self} was to be uncordoned, and the cluster made {_shown(done)} of it")
                return

    def disarm(self, state: dict[str, Any]) -> None:
        """Where the restore had nothing to do, since someone else has uncordoned it: our token goes, and nothing else."""
        while True:
            node = self._cluster.node(self._name)
            if node is None or node["metadata"]["uid"] != state["uid"] or _token(node) != state["token"]:
                return
            if self._cluster.set_schedulable(node, not _cordoned(node), {OURS: None}) is not None:
                return

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        node = self._cluster.node(self._name)
        if node is None:
            raise Foreign(f"{self} was taken out of the cluster by someone else")
        if _cordoned(node) or not is_ready(node):
            return None
        if any(t["key"] == _TAINT for t in node["spec"].get("taints") or ()):
            return None  # it goes after the cordon; until then no Pod is put there
        return {"schedulable": True, "ready": True}

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        while not over():
            try:
                node = self._cluster.node(self._name)
            except API_ERRORS:
                node = {}  # nobody can tell, for now
            if over():
                return None
            if node is None:
                return f"{self} was taken out of the cluster by someone else"
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
            f"the eviction of all Pods of the node, whosever they are: {', '.join(_name(p) for p in pods)}; those that "
            "find another node stay there after the restore"
        ]
        emptied = [_name(p) for p in pods if any("emptyDir" in v for v in p["spec"].get("volumes") or ())]
        if emptied:
            found.append(f"the loss of what lies in an emptyDir of {', '.join(emptied)}")
        return found

    def __str__(self) -> str:
        return f"node {self._name}"

    def _cordon(self, state: dict[str, Any]) -> None:
        over = time.monotonic() + CONFLICTS_S
        while True:
            node = self._cluster.node(self._name)
            if node is None or node["metadata"]["uid"] != state["uid"]:
                raise CannotInject(f"{self} was taken away or re-created since it was looked at")
            if _cordoned(node):
                if _token(node) == state["token"]:
                    return  # an earlier try arrived, though its answer did not
                if self._tried and self._is_ours(node, state):
                    raise CannotInject(self._altered(node))
                raise CannotInject(f"{self} was cordoned by someone else since it was looked at")
            # Conditional on the version just read: a write that was held up on its way finds a conflict.
            self._tried = True
            done = self._cluster.set_schedulable(node, False, {OURS: state["token"]})
            if done is not None:
                if not _cordoned(done) or _token(done) != state["token"]:
                    raise CannotInject(self._altered(done))
                return
            if time.monotonic() > over:
                raise CannotInject(
                    f"{self} is being changed by someone else: nothing but conflicts for {CONFLICTS_S:.0f} s"
                )

    def _is_ours(self, node: dict[str, Any], state: dict[str, Any]) -> bool:
        """By our token, which a cordon that someone else made after his uncordon wears too; or, where admission has taken the
        token away, by who wrote the cordon alone. One that nobody wrote is one that admission made of an uncordon, which
        takes the field away."""
        found, wrote = _token(node), managers(node, "spec", "unschedulable")
        if found == state["token"]:
            return not (_cordoned(node) and wrote and MANAGER not in wrote)
        return found is None and _cordoned(node) and wrote in ({MANAGER}, set())

    def _altered(self, node: dict[str, Any]) -> str:
        return f"{self} was to be cordoned, and the cluster made {_shown(node)} of it: its admission changes a cordon"

    def _evict(self) -> list[str]:
        """Request the eviction of all that have to go; which were refused, and why: one that is keeps no other. Raises
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
                why = error_text(e)
            if why:
                refused.append(f"{_name(pod)}: {why}")
        return refused

    def _subject(self) -> list[dict[str, Any]]:
        return [p for p in self._cluster.pods_on(self._name) if not _stays(p)]

    def _to_go(self) -> list[dict[str, Any]]:
        # One without a controller that has come since the snapshot, which refuses those, is not lost either.
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
    return f"a node that is {'cordoned' if _cordoned(node) else 'not cordoned'} and {token} our mark"


def _name(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


FAULT = NodeDrain

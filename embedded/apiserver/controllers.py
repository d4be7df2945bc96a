"""The controllers: Pods of workloads, statuses from Pods, EndpointSlices of Services; one task per object, woken by changes.

Also the scheduler, which binds new Pods to Nodes, the taint of a cordoned Node, and the statuses of disruption budgets
and autoscalers.

Each waits `delay_s` before it acts, as real controllers lag: a read right after a PATCH returns the old status.
"""

from __future__ import annotations

import asyncio
import functools
import random
import uuid
from collections.abc import Awaitable, Callable

from embedded.apiserver import autoscaling, budgets, errors, replicaset, status
from embedded.apiserver import node as nodes
from embedded.apiserver import pod as pods
from embedded.apiserver.endpoints import Seen, families_of, slice_of
from embedded.apiserver.resources import (
    AUTOSCALERS,
    BUDGETS,
    DEPLOYMENTS,
    ENDPOINTSLICES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    WORKLOADS,
    Resource,
)
from embedded.apiserver.scheduling import scheduled
from embedded.apiserver.selectors import matches
from embedded.apiserver.store import Event, Object, Store

Key = tuple[str, str, str]  # plural, namespace, name
DENIED_RETRY_S = 0.5  # retry after a Pod was denied; a real controller backs off exponentially


class Controllers:
    """Gets every event of the store and wakes the task of the affected object."""

    def __init__(self, store: Store, now: Callable[[], float], delay_s: float) -> None:
        self.store = store
        self.now = now
        self.delay_s = delay_s
        # Scales through the API, as any client does; set by Writes.
        self.scale: Callable[[Resource, str, str, int, str], None]
        # Runs admission on a Pod; set by Writes.
        self.admit: Callable[[Object], Object]
        self._woken: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._seen: dict[Key, Seen] = {}

    def on_event(self, event: Event) -> None:
        meta = event.after["metadata"]
        if event.resource in WORKLOADS:
            reconcile = self._deployment if event.resource is DEPLOYMENTS else self._stateful_set
            self._wake(event.resource, meta["namespace"], meta["name"], reconcile)
            self._wake_budgets(meta["namespace"])
            for scaler in self.store.list(AUTOSCALERS, meta["namespace"]):
                self._wake(AUTOSCALERS, meta["namespace"], scaler["metadata"]["name"], self._autoscaler)
        elif event.resource is NODES:
            self._wake(NODES, "", meta["name"], self._node)
        elif event.resource is AUTOSCALERS:
            self._wake(AUTOSCALERS, meta["namespace"], meta["name"], self._autoscaler)
        elif event.resource is BUDGETS:
            self._wake(BUDGETS, meta["namespace"], meta["name"], self._budget)
        elif event.resource is SERVICES:
            self._wake(SERVICES, meta["namespace"], meta["name"], self._service)
        elif event.resource is PODS:
            self._wake_for_pod(event.after)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _wake_for_pod(self, pod: Object) -> None:
        namespace = pod["metadata"]["namespace"]
        for resource in WORKLOADS:
            reconcile = self._deployment if resource is DEPLOYMENTS else self._stateful_set
            for workload in self.store.list(resource, namespace):
                if _owns(workload, pod):
                    self._wake(resource, namespace, workload["metadata"]["name"], reconcile)
        for service in self.store.list(SERVICES, namespace):
            if _selects(service, pod):
                self._wake(SERVICES, namespace, service["metadata"]["name"], self._service)
        self._wake_budgets(namespace)

    def _wake_budgets(self, namespace: str) -> None:
        for budget in self.store.list(BUDGETS, namespace):
            self._wake(BUDGETS, namespace, budget["metadata"]["name"], self._budget)

    def _wake(
        self, resource: Resource, namespace: str, name: str, reconcile: Callable[[str, str], Awaitable[None]]
    ) -> None:
        key = (resource.plural, namespace, name)
        if key not in self._tasks:
            self._woken[key] = asyncio.Event()
            self._tasks[key] = asyncio.create_task(self._loop(key, reconcile))
        self._woken[key].set()

    async def _loop(self, key: Key, reconcile: Callable[[str, str], Awaitable[None]]) -> None:
        while True:
            await self._woken[key].wait()
            self._woken[key].clear()
            await asyncio.sleep(self.delay_s)
            await reconcile(key[1], key[2])

    async def _deployment(self, namespace: str, name: str) -> None:
        workload = self.store.get(DEPLOYMENTS, namespace, name)
        if workload is None:
            return
        if workload.get("status", {}).get("observedGeneration") != workload["metadata"]["generation"]:
            workload["metadata"].setdefault("annotations", {}).setdefault(
                "deployment.kubernetes.io/revision", "1"
            )
            self.store.put(DEPLOYMENTS, workload)
            self._put_status(DEPLOYMENTS, namespace, name, status.deployment_seen)
            await asyncio.sleep(self.delay_s)
            self._put_status(DEPLOYMENTS, namespace, name, status.deployment_counted)
            workload = self.store.get(DEPLOYMENTS, namespace, name)
            if workload is None:
                return
        plan = status.deployment_plan(workload, self._pods_of(workload))
        self._delete(namespace, plan.delete)
        hash_ = pods.template_hash(workload["spec"]["template"])
        owner = self._replica_set(workload, hash_)
        prefix = f"{owner['name']}-"
        denied = None
        for _ in range(plan.create):
            made = pods.generated(prefix, random.getrandbits(32))
            denied = denied or self._create(workload, owner, made, prefix, {replicaset.HASH: hash_})
        counted = functools.partial(status.deployment_counted, denied=denied)
        self._put_status(DEPLOYMENTS, namespace, name, counted)
        if denied:
            await self._again(DEPLOYMENTS, namespace, name)

    def _replica_set(self, workload: Object, hash_: str) -> Object:
        """The reference to the ReplicaSet of the current template; earlier ones stay, at zero replicas."""
        namespace, uid = workload["metadata"]["namespace"], workload["metadata"]["uid"]
        made = replicaset.of(workload, hash_, pods.stamp(self.now()))
        for old in self.store.list(REPLICASETS, namespace):
            if not replicaset.is_of(old, uid):
                continue
            if old["metadata"]["name"] == made["metadata"]["name"]:
                made["metadata"] = old["metadata"]
            else:
                self.store.put(REPLICASETS, {**old, "spec": {**old["spec"], "replicas": 0}})
        self.store.put(REPLICASETS, made)
        meta = made["metadata"]
        return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": meta["name"], "uid": meta["uid"]}

    async def _stateful_set(self, namespace: str, name: str) -> None:
        workload = self.store.get(STATEFULSETS, namespace, name)
        if workload is None:
            return
        plan = status.stateful_plan(workload, self._pods_of(workload))
        self._delete(namespace, plan.delete)
        meta = workload["metadata"]
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": meta["uid"]}
        revision = f"{name}-{pods.template_hash(workload['spec']['template'])}"
        denied = None
        # A label value has at most 63 characters: with a name of more than 52, the API server refuses every Pod.
        for ordinal in plan.ordinals if len(revision) <= pods.NAME_MOST else ():
            labels = {
                "apps.kubernetes.io/pod-index": str(ordinal),
                "controller-revision-hash": revision,
                "statefulset.kubernetes.io/pod-name": f"{name}-{ordinal}",
            }
            denied = denied or self._create(workload, owner, f"{name}-{ordinal}", f"{name}-", labels)
        self._put_status(STATEFULSETS, namespace, name, lambda w, found, _: status.stateful_counted(w, found))
        if denied:  # a StatefulSet's status does not report it
            await self._again(STATEFULSETS, namespace, name)

    async def _service(self, namespace: str, name: str) -> None:
        service = self.store.get(SERVICES, namespace, name)
        labelled = {"kubernetes.io/service-name": name}
        found = [
            s
            for s in self.store.list(ENDPOINTSLICES, namespace)
            if matches(s["metadata"]["labels"], {"matchLabels": labelled})
        ]
        if service is None or not service["spec"].get("selector"):
            for old in found:
                self.store.remove(ENDPOINTSLICES, namespace, old["metadata"]["name"])
            return
        selected = [p for p in self.store.list(PODS, namespace) if _selects(service, p)]
        for family in families_of(service):
            key = (f"{SERVICES.plural}/{family}", namespace, name)
            there = [s for s in found if s["addressType"] == family]
            made, self._seen[key] = slice_of(
                service,
                family,
                selected,
                there[0] if there else None,
                self._seen.get(key, {}),
                pods.stamp(self.now()),
            )
            self.store.put(ENDPOINTSLICES, made)

    async def _node(self, _: str, name: str) -> None:
        node = self.store.get(NODES, "", name)
        if node is not None:
            self.store.put(NODES, nodes.tainted(node, pods.stamp(self.now())))
        for pod in self.store.list(PODS):
            if pods.is_live(pod) and not pods.is_bound(pod):
                self.store.put(PODS, self._scheduled(pod))

    def _scheduled(self, pod: Object) -> Object:
        return scheduled(pod, self.store.list(NODES), self.store.list(PODS), self.now())

    async def _autoscaler(self, namespace: str, name: str) -> None:
        scaler = self.store.get(AUTOSCALERS, namespace, name)
        if scaler is None:
            return
        ref = scaler["spec"]["scaleTargetRef"]
        resource = next((r for r in WORKLOADS if r.kind == ref.get("kind")), None)
        target = self.store.get(resource, namespace, ref["name"]) if resource else None
        if resource and target and (replicas := autoscaling.moves_to(scaler, target)) is not None:
            self.scale(resource, namespace, ref["name"], replicas, autoscaling.MANAGER)
            target = self.store.get(resource, namespace, ref["name"])
        made = autoscaling.status_of(scaler, target, pods.stamp(self.now()))
        self.store.put(AUTOSCALERS, {**scaler, "status": made})

    async def _budget(self, namespace: str, name: str) -> None:
        budget = self.store.get(BUDGETS, namespace, name)
        if budget is not None:
            self.store.put(BUDGETS, {**budget, "status": self._budget_status(budget)})

    def _budget_status(self, budget: Object) -> Object:
        namespace = budget["metadata"]["namespace"]
        covered = [p for p in self.store.list(PODS, namespace) if budgets.covers(budget, p)]
        replicas = sum(
            workload["spec"]["replicas"]
            for resource in WORKLOADS
            for workload in self.store.list(resource, namespace)
            if any(_owns(workload, p) for p in covered)
        )
        return budgets.status_of(budget, covered, replicas, pods.stamp(self.now()))

    def refuses_eviction(self, pod: Object) -> errors.ApiError | None:
        """Computed from the current Pods, not from the budgets' statuses, which may lag."""
        found = [b for b in self.store.list(BUDGETS, pod["metadata"]["namespace"]) if budgets.covers(b, pod)]
        if budgets.is_always_evictable(pod) or not found:
            return None
        if len(found) > 1:
            return errors.ApiError(
                500,
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )
        return budgets.refusal(found[0], self._budget_status(found[0]), pod)

    def _put_status(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        make: Callable[[Object, list[Object], str], Object],
    ) -> None:
        workload = self.store.get(resource, namespace, name)
        if workload is not None:
            made = make(workload, self._pods_of(workload), pods.stamp(self.now()))
            self.store.put(resource, {**workload, "status": made})

    def _pods_of(self, workload: Object) -> list[Object]:
        return [p for p in self.store.list(PODS, workload["metadata"]["namespace"]) if _owns(workload, p)]

    def _create(
        self, workload: Object, owner: Object, name: str, prefix: str, labels: dict[str, str]
    ) -> str | None:
        """None, or the API server's message if the Pod was denied."""
        made = pods.new(workload, owner, name, prefix, labels, str(uuid.uuid4()), self.now())
        try:
            made = self.admit(made)
        except errors.ApiError as e:
            return str(e)
        self.store.put(PODS, self._scheduled(made))
        return None

    async def _again(self, resource: Resource, namespace: str, name: str) -> None:
        await asyncio.sleep(DENIED_RETRY_S)
        self._woken[(resource.plural, namespace, name)].set()

    def _delete(self, namespace: str, names: list[str]) -> None:
        for name in names:
            self.delete_pod(namespace, name, None)

    def delete_pod(self, namespace: str, name: str, grace_s: float | None) -> Object | None:
        """Marks a Pod as deleted; the kubelet ends its process. A Pod without a process is removed at once.

        The grace period of a terminating Pod can only become shorter.
        """
        pod = self.store.get(PODS, namespace, name)
        if pod is None:
            return pod
        if pods.is_terminating(pod):
            left_s = pod["metadata"]["deletionGracePeriodSeconds"]
            if grace_s is None or grace_s >= left_s:
                return pod
        elif pods.is_over(pod) or not pods.is_bound(pod):
            removed = self.store.remove(PODS, namespace, name)
            return removed and pods.deleted(removed, 0, self.now())
        if grace_s is None:
            grace_s = pod["spec"]["terminationGracePeriodSeconds"]
        return self.store.put(PODS, pods.deleted(pod, grace_s, self.now()))

    def delete_pods_of(self, workload: Object) -> None:
        """Deletes a workload's ReplicaSets and Pods, as the garbage collector does in the background."""
        for old in self.store.list(REPLICASETS, workload["metadata"]["namespace"]):
            if replicaset.is_of(old, workload["metadata"]["uid"]):
                self.store.remove(REPLICASETS, old["metadata"]["namespace"], old["metadata"]["name"])
        for pod in self._pods_of(workload):
            self.delete_pod(pod["metadata"]["namespace"], pod["metadata"]["name"], None)


def _owns(workload: Object, pod: Object) -> bool:
    """A Deployment's Pods belong to a ReplicaSet, whose uid is derived from the Deployment's."""
    uid = workload["metadata"]["uid"]
    hash_ = pod["metadata"]["labels"].get(replicaset.HASH, "")
    return any(
        owner["uid"] in (uid, replicaset.uid_of(uid, hash_))
        for owner in pod["metadata"].get("ownerReferences", ())
    )


def _selects(service: Object, pod: Object) -> bool:
    return matches(
        pod["metadata"].get("labels") or {}, {"matchLabels": service["spec"].get("selector") or {}}
    )

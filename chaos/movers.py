"""Who else moves the replicas of a workload, and what that will do to a fault: named before it is made.

What each does is told as it was seen on real clusters.
"""

from typing import Any

from kubernetes.client.exceptions import ApiException

from chaos import kserve
from chaos.cluster import Cluster
from chaos.workload import Workload

_GITOPS = {
    "argocd.argoproj.io/instance": "Argo CD ({}): with selfHeal it syncs replicas that are in Git back within about 5 s",
    "argocd.argoproj.io/tracking-id": "Argo CD ({}): with selfHeal it syncs replicas that are in Git back within about 5 s",
    "kustomize.toolkit.fluxcd.io/name": "Flux ({}): it puts replicas that are in Git back at its interval; "
    "the annotation kustomize.toolkit.fluxcd.io/reconcile: disabled stops it",
    "helm.toolkit.fluxcd.io/name": "Flux, a HelmRelease ({}): it may put replicas back at its interval",
}


def of(cluster: Cluster, workload: Workload) -> list[str]:
    """A sentence for each. Raises TROUBLE and CannotInject."""
    found = workload.read()
    told = [
        f"HorizontalPodAutoscaler {_name(h)}: zero replicas stick while it is disabled by them; after the mend it may "
        "move away from the original"
        for h in cluster.autoscalers(workload.namespace)
        if _targets(h["spec"].get("scaleTargetRef"), workload)
    ]
    told += [
        f"KEDA's ScaledObject {_name(s)}: it undoes a scale within its polling interval; the annotation "
        'autoscaling.keda.sh/paused: "true" stops it'
        for s in cluster.scaled_objects(workload.namespace)
        if _targets(s["spec"].get("scaleTargetRef"), workload)
    ]
    meta = found["metadata"]
    told += [
        f"owned by {o['kind']} {o['name']}: its controller may set the replicas back"
        for o in meta.get("ownerReferences") or ()
        if not kserve.is_owner(o)
    ]
    marks = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
    told += [words.format(marks[key]) for key, words in _GITOPS.items() if key in marks]
    return told + _by_kserve(cluster, found)


def _by_kserve(cluster: Cluster, deployment: dict[str, Any]) -> list[str]:
    name = kserve.owner(deployment)
    if name is None:
        return []
    try:
        service = cluster.inference_service(deployment["metadata"]["namespace"], name)
        unread = None if service else "there is none of this name, or its API is not spoken here"
    except ApiException as e:
        if e.status != 403:  # a right that need not be held
            raise
        service, unread = None, "get inferenceservices is not granted"
    return [kserve.told(deployment, service, unread)]


def _targets(ref: Any, workload: Workload) -> bool:
    # KEDA's kind may be left out: then it is a Deployment.
    return (
        bool(ref)
        and ref.get("name") == workload.name
        and (ref.get("kind") or "Deployment").lower() == workload.kind
    )


def _name(found: dict[str, Any]) -> str:
    return str(found["metadata"]["name"])

"""Other controllers that change the replicas of a workload, and their effect on a fault; reported before the inject.

The effects are as observed on real clusters.
"""

from typing import Any

from kubernetes.client.exceptions import ApiException

from chaos.kube import kserve
from chaos.kube.cluster import Cluster
from chaos.kube.workload import Workload

_GITOPS = {
    "argocd.argoproj.io/instance": "Argo CD ({}): with selfHeal it syncs replicas that are in Git back within about 5 s",
    "argocd.argoproj.io/tracking-id": "Argo CD ({}): with selfHeal it syncs replicas that are in Git back within about 5 s",
    "kustomize.toolkit.fluxcd.io/name": "Flux ({}): it puts replicas that are in Git back at its interval; "
    "the annotation kustomize.toolkit.fluxcd.io/reconcile: disabled stops it",
    "helm.toolkit.fluxcd.io/name": "Flux, a HelmRelease ({}): it may put replicas back at its interval",
}


def of(cluster: Cluster, workload: Workload, replicas: int) -> list[str]:
    """A sentence for each: its effect on a scale to `replicas`. Raises API_ERRORS and CannotInject."""
    found = workload.read()
    sentences = [
        f"HorizontalPodAutoscaler {_name(h)}: {_by_autoscaler(h['spec'], replicas)}"
        for h in cluster.autoscalers(workload.namespace)
        if _targets(h["spec"].get("scaleTargetRef"), workload)
    ]
    sentences += [
        f"KEDA's ScaledObject {_name(s)}: {_by_keda(s['spec'], replicas)}; the annotation "
        'autoscaling.keda.sh/paused: "true" stops it'
        for s in cluster.scaled_objects(workload.namespace)
        if _targets(s["spec"].get("scaleTargetRef"), workload)
    ]
    meta = found["metadata"]
    sentences += [
        f"owned by {o['kind']} {o['name']}: its controller may set the replicas back"
        for o in meta.get("ownerReferences") or ()
        if not kserve.is_owner(o)
    ]
    marks = {**(meta.get("annotations") or {}), **(meta.get("labels") or {})}
    sentences += [words.format(marks[key]) for key, words in _GITOPS.items() if key in marks]
    return sentences + _by_kserve(cluster, found, replicas)


def _by_autoscaler(spec: dict[str, Any], replicas: int) -> str:
    """At zero it does nothing. It moves replicas that are outside its bounds back inside, whatever its metrics are."""
    least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
    if replicas == 0 and least:
        return (
            "zero replicas stick, since they disable it; after the restore it may move away from the original"
        )
    if replicas < least:
        return f"A SCALE TO {replicas} WILL BE UNDONE within seconds, and the step ends there: its minReplicas is {least}"
    if replicas > most:
        return f"A SCALE TO {replicas} WILL BE UNDONE within seconds, and the step ends there: its maxReplicas is {most}"
    return (
        f"it may move away from {replicas} by its metrics at any time (minReplicas {least}, maxReplicas {most}), and the "
        "step ends there; after the restore it may move away from the original"
    )


def _by_keda(spec: dict[str, Any], replicas: int) -> str:
    """KEDA itself scales from zero and to zero; the autoscaler that it creates scales between its bounds."""
    least, most = spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", 100)
    if replicas == 0:
        return "it undoes a scale to 0 within its polling interval"
    if not max(least, 1) <= replicas <= most:
        return (
            f"the autoscaler that it has made undoes a scale to {replicas} within seconds (minReplicaCount {least}, "
            f"maxReplicaCount {most}), and the step ends there"
        )
    return (
        f"the autoscaler that it has made may move away from {replicas} at any time, and the step ends there"
    )


def _by_kserve(cluster: Cluster, deployment: dict[str, Any], replicas: int) -> list[str]:
    name = kserve.owner(deployment)
    if name is None:
        return []
    try:
        service = cluster.inference_service(deployment["metadata"]["namespace"], name)
        unread = None if service else "it was not found, or the cluster does not serve its API"
    except ApiException as e:
        if e.status != 403:  # an optional right
            raise
        service, unread = None, "get inferenceservices is not granted"
    return [kserve.describe_scale(deployment, service, unread, replicas)]


def _targets(ref: Any, workload: Workload) -> bool:
    # KEDA's default kind is Deployment.
    return (
        bool(ref)
        and ref.get("name") == workload.name
        and (ref.get("kind") or "Deployment").lower() == workload.kind
    )


def _name(found: dict[str, Any]) -> str:
    return str(found["metadata"]["name"])

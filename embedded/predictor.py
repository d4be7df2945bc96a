"""A tier's Deployment as KServe creates it: names, labels, annotations, and the InferenceService that owns it. Pure.

After kserve/kserve: components/predictor.go (buildObjectMeta), reconcilers/deployment (createRawDefaultDeployment).
"""

from typing import Any

from contract.embedded import InferenceService
from embedded.apiserver.kserve import CLASS, LABEL, MODE, reference

SUFFIX = "-predictor"
Object = dict[str, Any]


def service(handle: str, given: InferenceService) -> Object:
    """The InferenceService of a predictor's Deployment, as a user would write it."""
    namespace, deployment = handle.split("/")
    annotations = {MODE: "Standard"}
    if given.autoscaler_class is not None:
        annotations[CLASS] = given.autoscaler_class
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": deployment.removesuffix(SUFFIX),
            "namespace": namespace,
            "annotations": annotations,
        },
        "spec": {
            "predictor": {"minReplicas": given.min_replicas, "model": {"modelFormat": {"name": "vLLM"}}}
        },
    }


def selector(deployment: str) -> dict[str, str]:
    """The labels that select its Pods."""
    return {"app": f"isvc.{deployment}"}


def marked(deployment: Object, owner: Object) -> Object:
    """The Deployment of a predictor. `owner`: its InferenceService, as stored."""
    meta, spec = deployment["metadata"], deployment["spec"]
    owner_meta = owner["metadata"]
    labels = {**selector(meta["name"]), LABEL: owner_meta["name"], "component": "predictor"}
    # The same for the Deployment and for its Pods.
    marks = {"labels": labels, "annotations": dict(owner_meta["annotations"])}
    return {
        **deployment,
        "metadata": {**meta, **marks, "ownerReferences": [reference(owner)]},
        "spec": {
            **spec,
            "selector": {"matchLabels": selector(meta["name"])},
            "template": {**spec["template"], "metadata": marks},
        },
    }

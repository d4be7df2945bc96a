"""Predicts the effect of a scale of a KServe predictor, by deployment mode and autoscaler class, in words. Pure.

The references to KServe's source: docs/openshift.md. Its controller reads the annotations of the Deployment, into which it
copies those of the InferenceService. Only the InferenceService has minReplicas, the cluster's default mode and a stop.
"""

from typing import Any

LABEL = "serving.kserve.io/inferenceservice"
CLASS = "serving.kserve.io/autoscalerClass"
MODE = "serving.kserve.io/deploymentMode"
STOP = "serving.kserve.io/stop"
_REVISION = "serving.knative.dev/revision"
_KNATIVE = ("Serverless", "Knative")  # the older and the newer name
_DEFAULT = "hpa"  # DefaultAutoscalerClass


def owner(deployment: dict[str, Any]) -> str | None:
    """The InferenceService whose predictor (or other component) this is; None: not managed by KServe."""
    meta = deployment["metadata"]
    named = (meta.get("labels") or {}).get(LABEL)
    return named or next((o["name"] for o in meta.get("ownerReferences") or () if is_owner(o)), None)


def is_owner(reference: dict[str, Any]) -> bool:
    return reference["kind"] == "InferenceService"


def describe_scale(
    deployment: dict[str, Any], service: dict[str, Any] | None, unread: str | None, replicas: int = 0
) -> str:
    """One sentence on a scale to `replicas`. `service`: the InferenceService; None where it could not be read, for the reason
    `unread`."""
    meta = deployment["metadata"]
    name, given = owner(deployment), (meta.get("annotations") or {}).get(CLASS)
    mode = _mode(meta, service)
    if service is not None and (service["metadata"].get("annotations") or {}).get(STOP) == "true":
        words = f"{STOP} is true: its controller deletes this Deployment, and recreates it when that annotation is removed"
    elif mode in _KNATIVE or _REVISION in (meta.get("labels") or {}):
        words = f"mode {mode or _KNATIVE[-1]}: {_BY_KNATIVE}"
    else:
        least = _least(service)
        word = _ZERO if (given, least) == ("none", 0) else given or _DEFAULT
        by_class = _BY_CLASS | (_BY_CLASS_ABOVE_ZERO if replicas else {})
        effect = by_class.get(word, "an unknown class: whether a scale sticks is unknown")
        words = f"autoscalerClass {given or f'not given, which is {_DEFAULT}'}: " + effect.format(
            least=least, to=replicas, ns=meta["namespace"], deployment=meta["name"], isvc=name
        )
    return f"KServe ({name}), {words}" + (f" (its InferenceService was not read: {unread})" if unread else "")


def _mode(meta: dict[str, Any], service: dict[str, Any] | None) -> str | None:
    """From the controller's status, else from the annotation; None: the default of the cluster."""
    settled = ((service or {}).get("status") or {}).get("deploymentMode")
    return settled or (meta.get("annotations") or {}).get(MODE)


def _least(service: dict[str, Any] | None) -> int | str:
    """The replicas that the class none keeps; by default that of a Deployment, 1."""
    if service is None:
        return "minReplicas"
    return int((service["spec"].get("predictor") or {}).get("minReplicas", 1))


_BY_KNATIVE = (
    "Knative's autoscaler owns these replicas and sets them by the traffic: A SCALE WILL BE UNDONE when it next acts, and a "
    "restore too; take the tier away otherwise (pod_kill, network_blackhole), or have it served in mode Standard (RawDeployment)"
)
_ZERO = "none, of zero"
_BY_CLASS = {
    "hpa": "its controller leaves the replicas alone, and zero disables the autoscaler that it has made: a scale to zero "
    "sticks; after the restore that autoscaler may move away from the original",
    "keda": "its controller leaves the replicas alone, but KEDA does not: A SCALE TO ZERO WILL BE UNDONE within the polling "
    "interval of the ScaledObject that it has made. To have it stick: oc -n {ns} annotate --overwrite scaledobject "
    "{deployment} autoscaling.keda.sh/paused=true",
    "external": "its controller makes no autoscaler and leaves the replicas alone: a scale sticks, unless another "
    "autoscaler is listed here too (a KServe older than the class none keeps external at minReplicas, as none now is)",
    "none": "A SCALE IS SET BACK AT ONCE: its controller keeps the replicas at {least}, and the scale itself triggers it; the "
    "step will end there, and at most the engine was restarted. To have it stick: oc -n {ns} annotate --overwrite "
    f"inferenceservice {{isvc}} {CLASS}=external, which replaces the Pods once",
    _ZERO: "its controller keeps the replicas at 0, the minReplicas: a scale to zero sticks, but THE RESTORE WILL BE UNDONE; "
    "give minReplicas 1 first",
}
# Where a scale to one or more has another effect.
_BY_CLASS_ABOVE_ZERO = {
    "hpa": "its controller leaves the replicas alone; what the autoscaler that it has made does to a scale to {to} is listed here too",
    "keda": "its controller leaves the replicas alone, but the autoscaler that KEDA has made does not: A SCALE TO {to} IS UNDONE "
    "where it is outside its bounds, and may be moved within them. To have it stick: oc -n {ns} annotate --overwrite "
    "scaledobject {deployment} autoscaling.keda.sh/paused=true",
    _ZERO: "A SCALE IS SET BACK AT ONCE: its controller keeps the replicas at 0, the minReplicas; THE RESTORE WILL BE UNDONE, TOO; "
    "give minReplicas 1 first",
}

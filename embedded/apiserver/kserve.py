"""KServe's controller, as far as it affects the replicas of a predictor's Deployment. It is a client of this API.

It follows the reconcilers of kserve/kserve in mode Standard (pkg/controller/v1beta1/inferenceservice:
components/predictor.go, reconcilers/deployment, reconcilers/hpa). A change of the InferenceService or of the Deployment
wakes it. It copies the annotations into the Deployment and into its template, which replaces the Pods. With autoscaler
class none it keeps the replicas at minReplicas; with any other class it does not change them; with hpa (the default) it
creates an autoscaler. It does not create the Deployment itself, Services, models or anything of mode Knative.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from embedded.apiserver.controllers import Controllers
from embedded.apiserver.options import Options
from embedded.apiserver.resources import AUTOSCALERS, DEPLOYMENTS, INFERENCE_SERVICES
from embedded.apiserver.store import Event, Object, Store
from embedded.apiserver.writes import Writes

LABEL = "serving.kserve.io/inferenceservice"
CLASS = "serving.kserve.io/autoscalerClass"
MODE = "serving.kserve.io/deploymentMode"
OURS = "serving.kserve.io/"


class KServe:
    """Woken by changes; lags by the `delay_s` of `controllers`."""

    def __init__(self, store: Store, writes: Writes, controllers: Controllers) -> None:
        self._store, self._writes, self._controllers = store, writes, controllers
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def on_event(self, event: Event) -> None:
        if event.resource not in (DEPLOYMENTS, INFERENCE_SERVICES):
            return
        self._woken.set()
        if self._task is None:
            self._task = asyncio.create_task(self._loop())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _loop(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            await asyncio.sleep(self._controllers.delay_s)
            for service in self._store.list(INFERENCE_SERVICES):
                self._reconcile(service)

    def _reconcile(self, service: Object) -> None:
        meta = service["metadata"]
        namespace, name = meta["namespace"], predictor(meta["name"])
        mode = _annotations(service).get(MODE, "Standard")
        self._store.put(INFERENCE_SERVICES, {**service, "status": {"deploymentMode": mode}})
        deployment = self._store.get(DEPLOYMENTS, namespace, name)
        if deployment is None:
            return
        desired = reconciled(service, deployment)
        if desired != deployment:
            self._writes.replace(DEPLOYMENTS, namespace, name, desired, Options())
        there, scaler = self._store.get(AUTOSCALERS, namespace, name), autoscaler(service)
        if there is None and scaler is not None:
            self._writes.create(AUTOSCALERS, namespace, scaler, Options())
        elif there is not None and scaler is None and reference(service) in _owners(there):
            self._writes.delete(AUTOSCALERS, namespace, name, None, Options())


def predictor(service: str) -> str:
    """The name of its Deployment, of its Service and of its autoscaler."""
    return f"{service}-predictor"


def reconciled(service: Object, deployment: Object) -> Object:
    """The desired Deployment."""
    spec, template = deployment["spec"], deployment["spec"]["template"]
    if _annotations(service).get(CLASS) == "none":
        spec = {**spec, "replicas": _least(service)}
    template = {**template, "metadata": _marked(service, template["metadata"])}
    return {
        **deployment,
        "metadata": _marked(service, deployment["metadata"]),
        "spec": {**spec, "template": template},
    }


def autoscaler(service: Object) -> Object | None:
    """Its HorizontalPodAutoscaler; None if KServe creates none for its class."""
    if _annotations(service).get(CLASS, "hpa") != "hpa":
        return None
    meta, name = service["metadata"], predictor(service["metadata"]["name"])
    least = max(1, _least(service))
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": meta["namespace"], "ownerReferences": [reference(service)]},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": least,
            "maxReplicas": max(least, _of_predictor(service).get("maxReplicas", 0)),
        },
    }


def reference(service: Object) -> Object:
    """The ownerReference of the objects that it creates."""
    kind = {"apiVersion": service["apiVersion"], "kind": service["kind"], "controller": True}
    return {**kind, "name": service["metadata"]["name"], "uid": service["metadata"]["uid"]}


def _marked(service: Object, meta: Object) -> Object:
    others = {
        key: value for key, value in (meta.get("annotations") or {}).items() if not key.startswith(OURS)
    }
    ours = {key: value for key, value in _annotations(service).items() if key.startswith(OURS)}
    return {**meta, "annotations": others | ours} if others or ours or meta.get("annotations") else meta


def _owners(obj: Object) -> list[Object]:
    return obj["metadata"].get("ownerReferences") or []


def _annotations(service: Object) -> dict[str, str]:
    return service["metadata"].get("annotations") or {}


def _of_predictor(service: Object) -> dict[str, Any]:
    return service["spec"].get("predictor") or {}


def _least(service: Object) -> int:
    return int(_of_predictor(service).get("minReplicas", 1))

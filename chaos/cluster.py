"""The Kubernetes API as the faults need it: plain dictionaries, explicit timeouts, no hidden retries.

What can go wrong on the way is TROUBLE; a caller that must not give up catches it and tries again.
"""

import json
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from contract.refusal import Refusal

# The client raises its own exception for an answer, urllib3's for no answer, and ValueError for one that is no JSON
# (an ingress may send a page of HTML).
TROUBLE = (ApiException, urllib3.exceptions.HTTPError, ValueError)
EMBEDDED_LABEL = "brownout.dev/embedded"
EMBEDDED_PID = "brownout.dev/pid"
_TIMEOUT_S = (3, 10)  # connect, read: without them a hung API server blocks for ever
_LIVE = ("Pending", "Running", "Unknown")  # Failed and Succeeded Pods never go away by themselves


class Cluster:
    """One cluster, by the context that a kubeconfig names."""

    def __init__(self, kubeconfig: str | None, embedded_pid: int | None = None) -> None:
        self.kubeconfig = kubeconfig
        self.embedded_pid = embedded_pid
        settings = client.Configuration()
        try:
            config.load_kube_config(config_file=kubeconfig, client_configuration=settings)
        except (config.ConfigException, OSError) as e:
            raise Refusal(f"kubeconfig {kubeconfig or '(default)'}: cannot be used: {e}") from None
        settings.retries = False
        api = client.ApiClient(settings)
        self._core, self._apps = client.CoreV1Api(api), client.AppsV1Api(api)
        self._slices, self._leases = client.DiscoveryV1Api(api), client.CoordinationV1Api(api)

    def identity(self) -> tuple[str, bool]:
        """The uid of kube-system, and whether this is an embedded stack's cluster."""
        meta = _json(self._core.read_namespace("kube-system", **_RAW))["metadata"]
        embedded = meta.get("labels", {}).get(EMBEDDED_LABEL) == "true"
        pid = meta.get("annotations", {}).get(EMBEDDED_PID)
        self.embedded_pid = int(pid) if embedded and pid else None
        return meta["uid"], embedded

    def gone(self) -> bool:
        """An embedded cluster whose process has ended: nothing is left that could be mended."""
        if self.embedded_pid is None:
            return False
        try:
            with open(f"/proc/{self.embedded_pid}/stat") as f:
                state = f.read().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"  # killed, and its parent has not looked yet

    def deployment(self, namespace: str, name: str) -> dict[str, Any]:
        return _json(self._apps.read_namespaced_deployment(name, namespace, **_RAW))

    def scale(self, namespace: str, name: str) -> dict[str, Any]:
        """The autoscaling/v1 Scale; `spec.replicas` is absent at zero."""
        return _json(self._apps.read_namespaced_deployment_scale(name, namespace, **_RAW))

    def set_scale(self, scale: dict[str, Any], replicas: int) -> bool:
        """Scale, provided that nothing changed since `scale` was read; False: something did."""
        meta = scale["metadata"]
        body = {
            "metadata": {"resourceVersion": meta["resourceVersion"], "uid": meta["uid"]},
            "spec": {"replicas": replicas},
        }
        try:
            self._apps.patch_namespaced_deployment_scale(meta["name"], meta["namespace"], body, **_RAW)
        except ApiException as e:
            if e.status == 409:
                return False
            raise
        return True

    def live_pods(self, namespace: str, selector: dict[str, str]) -> list[str]:
        """Names of the Pods that still run, terminating ones included."""
        labels = ",".join(f"{k}={v}" for k, v in selector.items())
        pods = _json(self._core.list_namespaced_pod(namespace, label_selector=labels, **_RAW))["items"]
        return [p["metadata"]["name"] for p in pods if p.get("status", {}).get("phase") in _LIVE]

    def endpoints(self, namespace: str, deployment: str) -> list[dict[str, Any]]:
        """What the Services would send traffic to, of this Deployment's Pods: {pod, ready}."""
        slices = _json(self._slices.list_namespaced_endpoint_slice(namespace, **_RAW))["items"]
        found = []
        for part in slices:
            for endpoint in part.get("endpoints") or ():  # null where there is none
                pod = (endpoint.get("targetRef") or {}).get("name", "")
                # <deployment>-<replica set>-<pod>; another Deployment's name may begin alike.
                if pod.rsplit("-", 2)[0] == deployment:
                    found.append({"pod": pod, "ready": endpoint.get("conditions", {}).get("ready", False)})
        return found

    def create_lease(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        return _json(self._leases.create_namespaced_lease(namespace, body, **_RAW))

    def lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return _json(self._leases.read_namespaced_lease(name, namespace, **_RAW))
        except ApiException as e:
            if e.status == 404:
                return None
            raise

    def leases(self, namespace: str, label: str) -> list[dict[str, Any]]:
        return _json(self._leases.list_namespaced_lease(namespace, label_selector=label, **_RAW))["items"]

    def delete_lease(self, namespace: str, name: str, uid: str) -> None:
        """Delete that very Lease; one that is gone, or another of its name, is left as it is."""
        try:
            self._leases.delete_namespaced_lease(
                name, namespace, body={"preconditions": {"uid": uid}}, **_RAW
            )  # fmt: skip
        except ApiException as e:
            if e.status not in (404, 409):
                raise


_RAW = {"_preload_content": False, "_request_timeout": _TIMEOUT_S}


def _json(response: Any) -> dict[str, Any]:
    found = json.loads(response.data)
    if not isinstance(found, dict):
        raise ValueError("the API server's answer is no object")
    return found

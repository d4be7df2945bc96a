"""The Kubernetes API calls of the faults: plain dictionaries, explicit timeouts, no hidden retries.

Calls raise API_ERRORS; a caller that must not give up catches them and tries again.
"""

import email.utils
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from kubernetes.client.exceptions import ApiException

from chaos.kube import credentials
from chaos.kube.answers import API_ERRORS as API_ERRORS
from chaos.kube.answers import NotTheApi, conflict, denies, gone, line, no_such_api
from chaos.kube.answers import api_error_text as api_error_text
from chaos.kube.wire import KUBE_SYSTEM, Answer, Wire, events, path

MANAGER = "brownout"  # our field manager: managedFields name it for the fields that we wrote last
EMBEDDED_LABEL = "brownout.dev/embedded"
EMBEDDED_PID = "brownout.dev/pid"
_LIVE = ("Pending", "Running", "Unknown")  # Failed and Succeeded Pods stay until they are deleted


class Cluster:
    """One cluster: by the context of a kubeconfig or, inside a Pod, by the Pod's own account.

    The attributes `kubeconfig` and `context` identify it from any folder and in any environment, also after someone changes
    the current context. None: the Pod's own account.
    """

    def __init__(
        self, kubeconfig: str | None, embedded_pid: int | None = None, context: str | None = None
    ) -> None:
        """`context`: used where the kubeconfig has it; otherwise the current one."""
        self.kubeconfig = credentials.absolute(kubeconfig)
        self.embedded_pid = embedded_pid
        self._wire = Wire(lambda renewed: credentials.load(self.kubeconfig, renewed or context))
        self.context = self._wire.credentials.context

    def identity(self) -> tuple[str, bool]:
        """The uid of kube-system, and whether this is an embedded stack's cluster."""
        meta = self._wire.get(KUBE_SYSTEM).found["metadata"]
        embedded = (meta.get("labels") or {}).get(EMBEDDED_LABEL) == "true"
        pid = (meta.get("annotations") or {}).get(EMBEDDED_PID)
        self.embedded_pid = int(pid) if embedded and pid else None
        self._wire.cluster = self._wire.cluster or meta["uid"]
        return meta["uid"], embedded

    @property
    def uid(self) -> str | None:
        """The uid of kube-system, once `identity` has read it."""
        return self._wire.cluster

    def clock_ahead_s(self, now: float) -> float | None:
        """Seconds that `now` is ahead of the API server's clock, to about a second; None: its answers have no date."""
        date = self._wire.get("/version/").headers.get("Date")
        if date is None:
            return None
        return now - email.utils.parsedate_to_datetime(date).timestamp() - 0.5  # the header has whole seconds

    def credential_ends_at(self) -> float | None:
        """When the credential expires, in unix seconds; None: unknown, or it is renewed."""
        return self._wire.credentials.ends_at

    def renew_credential(self) -> None:
        """Read the kubeconfig again, before the API server refuses the present credential."""
        self._wire.renew()

    def allows(self, verb: str, group: str, resource: str, namespace: str | None, name: str | None) -> bool:
        """By a SelfSubjectAccessReview."""
        plural, _, sub = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": plural, "subresource": sub}
        if namespace:
            attributes["namespace"] = namespace
        if name:
            attributes["name"] = name
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self._wire.post(path(*_REVIEWS, "selfsubjectaccessreviews"), body)
        return bool(answer.found["status"].get("allowed"))

    # Workloads. `kind` is deployment or statefulset.

    def workload(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """None: the cluster has none of this name."""
        return _or_none(lambda: self._wire.get(_workload(kind, namespace, name)))

    def scale(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The autoscaling/v1 Scale; `spec.replicas` is absent at zero."""
        return _or_none(lambda: self._wire.get(_workload(kind, namespace, name, "scale")))

    def set_scale(
        self, kind: str, scale: dict[str, Any], replicas: int, manager: str = MANAGER
    ) -> dict[str, Any] | None:
        """Scale, provided that nothing changed since `scale`, or the workload itself, was read. Returns the new Scale, whose
        number admission may have changed; None: something changed before."""
        meta = scale["metadata"]
        body = {
            "metadata": {"resourceVersion": meta["resourceVersion"], "uid": meta["uid"]},
            "spec": {"replicas": replicas},
        }
        where = _workload(kind, meta["namespace"], meta["name"], "scale")
        return _unless_conflict(lambda: self._wire.patch(where, body, fieldManager=manager))

    def try_scale(self, kind: str, workload: dict[str, Any], replicas: int) -> dict[str, Any]:
        """The Scale that would result: a dry run, which passes admission and is not written."""
        meta = workload["metadata"]
        body = {"metadata": {"uid": meta["uid"]}, "spec": {"replicas": replicas}}
        where = _workload(kind, meta["namespace"], meta["name"], "scale")
        return self._wire.patch(where, body, dryRun="All", fieldManager=MANAGER).found

    def watch_workload(
        self, kind: str, namespace: str, name: str, version: str, seconds: int
    ) -> Iterator[dict[str, Any]]:
        """Its events after a version, {type, object}, for at most `seconds`."""
        began, any_came = time.monotonic(), False
        query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": version}
        response = self._wire.watch(_workload(kind, namespace), seconds, **query)
        try:
            for found in events(response, name, namespace, f"{kind}s"):
                any_came = True
                yield found
        finally:
            response.close()
        if not any_came and time.monotonic() - began < min(1, seconds):
            raise NotTheApi(f"the watch of {kind} {namespace}/{name} ended at once")

    # Pods, their owners and their endpoints.

    def pods(self, namespace: str, selector: dict[str, Any]) -> list[dict[str, Any]]:
        """The live Pods, including terminating ones. `selector`: as in a workload's spec."""
        found = self._items(path(*_CORE, namespace, "pods"), labelSelector=selector_text(selector))
        return [p for p in found if p.get("status", {}).get("phase") in _LIVE]

    def replica_sets(self, namespace: str, selector: dict[str, Any]) -> list[dict[str, Any]]:
        """The ReplicaSets between a Deployment of this selector and its Pods."""
        where = path(*_APPS, namespace, "replicasets")
        return list(self._items(where, labelSelector=selector_text(selector)))

    def pods_on(self, node: str) -> list[dict[str, Any]]:
        """The live Pods of a node, of all namespaces."""
        found = self._items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")
        return [p for p in found if p.get("status", {}).get("phase") in _LIVE]

    def delete_pod(self, namespace: str, name: str, uid: str, grace_s: int) -> bool:
        """Delete the Pod of this uid; False: it is already gone, or another Pod has its name."""
        body = {"gracePeriodSeconds": grace_s, "preconditions": {"uid": uid}}
        try:
            self._wire.delete(path(*_CORE, namespace, "pods", name), body)
        except ApiException as e:
            if gone(e) or conflict(e):
                return False
            raise
        return True

    def evict(self, namespace: str, name: str, uid: str) -> str | None:
        """Request the eviction of the Pod of this uid. None: it is terminating, or gone; otherwise why it is not evicted. Raises
        API_ERRORS where the API server did not answer."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            self._wire.post(path(*_CORE, namespace, "pods", name, "eviction"), body)
        except ApiException as e:
            return None if gone(e) or conflict(e) else _message(e)
        return None

    def endpoints(self, namespace: str) -> list[dict[str, Any]]:
        """The Pods that the Services of a namespace route to: {pod: its uid, ready}. A Pod is listed once for each Service and
        each address family."""
        found = []
        for part in self._items(path(*_DISCOVERY, namespace, "endpointslices")):
            for endpoint in part.get("endpoints") or ():  # null where there is none
                pod = (endpoint.get("targetRef") or {}).get("uid", "")
                conditions = endpoint.get("conditions") or {}
                found.append({"pod": pod, "ready": conditions.get("ready", False)})
        return found

    def _items(self, where: str, **query: str) -> Iterator[dict[str, Any]]:
        """The objects of a list, read in pages."""
        for page in self._wire.pages(where, **query):
            yield from page

    # Nodes.

    def node(self, name: str) -> dict[str, Any] | None:
        return _or_none(lambda: self._wire.get(path("api", "v1", "nodes", name)))

    def set_schedulable(
        self,
        node: dict[str, Any],
        schedulable: bool,
        annotations: dict[str, str | None],
        manager: str = MANAGER,
    ) -> dict[str, Any] | None:
        """Cordon or uncordon, provided that nothing changed since `node` was read. Returns the new node, which admission may have
        changed; None: something changed before. An annotation of None is removed."""
        meta = node["metadata"]
        body = {
            "metadata": {
                "resourceVersion": meta["resourceVersion"],
                "uid": meta["uid"],
                "annotations": annotations,
            },
            "spec": {"unschedulable": None if schedulable else True},
        }
        where = path("api", "v1", "nodes", meta["name"])
        return _unless_conflict(lambda: self._wire.patch(where, body, fieldManager=manager))

    # Network policies.

    def network_policies(self, namespace: str) -> list[dict[str, Any]]:
        return list(self._items(_policy(namespace)))

    def network_policy(self, namespace: str, name: str) -> dict[str, Any] | None:
        return _or_none(lambda: self._wire.get(_policy(namespace, name)))

    def create_network_policy(self, namespace: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The created policy, which admission may have changed; None: one of this name already exists."""
        return _unless_conflict(lambda: self._wire.post(_policy(namespace), body, fieldManager=MANAGER))

    def delete_network_policy(self, namespace: str, name: str, uid: str) -> None:
        """Delete the policy of this uid; does nothing where it is gone, or another has its name."""
        body = {"preconditions": {"uid": uid}}
        _unless_gone(lambda: self._wire.delete(_policy(namespace, name), body))

    # Other controllers that scale.

    def autoscalers(self, namespace: str) -> list[dict[str, Any]]:
        return list(self._items(path(*_SCALING, namespace, "horizontalpodautoscalers")))

    def scaled_objects(self, namespace: str) -> list[dict[str, Any]]:
        """Of KEDA; empty where the cluster has no KEDA."""
        where = path("apis", "keda.sh", "v1alpha1", "namespaces", namespace, "scaledobjects")
        return _if_spoken(lambda: list(self._items(where))) or []

    def inference_service(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Of KServe; None: the cluster has none of this name, or no KServe."""
        where = path(
            "apis", "serving.kserve.io", "v1beta1", "namespaces", namespace, "inferenceservices", name
        )
        return _if_spoken(lambda: self._wire.get(where).found)

    def secret(self, namespace: str, name: str) -> dict[str, Any] | None:
        """None: the cluster has none of this name."""
        return _or_none(lambda: self._wire.get(path(*_CORE, namespace, "secrets", name)))

    # Leases.

    def create_lease(self, namespace: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """None: one of this name already exists."""
        return _unless_conflict(lambda: self._wire.post(_lease(namespace), body))

    def lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        return _or_none(lambda: self._wire.get(_lease(namespace, name)))

    def leases(self, namespace: str, label: str) -> Iterator[dict[str, Any]]:
        """One after another: others may have created more of them than fit in memory."""
        return self._items(_lease(namespace), labelSelector=label)

    def replace_lease(self, lease: dict[str, Any]) -> dict[str, Any] | None:
        """Provided that nothing changed since it was read; None: something changed."""
        meta = lease["metadata"]
        return _unless_conflict(lambda: self._wire.put(_lease(meta["namespace"], meta["name"]), lease))

    def delete_lease(self, namespace: str, name: str, uid: str) -> None:
        """Delete the Lease of this uid; does nothing where it is gone, or another has its name."""
        body = {"preconditions": {"uid": uid}}
        _unless_gone(lambda: self._wire.delete(_lease(namespace, name), body))


def managers(found: dict[str, Any], *path: str) -> set[str] | None:
    """The managers that wrote a field of an object last, by its managedFields. Empty: no manager, as after a scale to zero, which
    removes the field. None: the object has no managedFields. Admission may have changed what they wrote."""
    entries = found["metadata"].get("managedFields")
    if not entries:
        return None
    wrote = set()
    for entry in entries:
        fields: Any = entry.get("fieldsV1") or {}
        for step in path:
            fields = fields.get(f"f:{step}") if isinstance(fields, dict) else None
        if fields is not None:
            wrote.add(str(entry.get("manager")))
    return wrote


def refused(error: Exception) -> str | None:
    """The API server's message where admission or validation denies a write for good; None: it is another error.

    A webhook denies with any code, 400 by default; a policy with 403, 413 or 422.
    """
    # An answer that is not a Status of the API server is raised as another error, see answers.py.
    if not isinstance(error, ApiException) or not_tried(error):
        return None
    status = error.status or 0
    final = 400 <= status <= 499 and status not in (401, 404, 409, 429)
    return _message(error) if final or denies(error) else None


def not_tried(error: Exception) -> bool:
    """Whether the API server has refused a dry run because a webhook has side effects (400)."""
    return isinstance(error, ApiException) and error.status == 400 and _NO_DRY_RUN in str(error)


def selector_text(selector: dict[str, Any]) -> str:
    """A workload's selector as the labelSelector of a list request."""
    parts = [f"{k}={v}" for k, v in (selector.get("matchLabels") or {}).items()]
    for e in selector.get("matchExpressions") or ():
        values = f"({','.join(e.get('values') or ())})"
        words = {"In": f"{e['key']} in {values}", "NotIn": f"{e['key']} notin {values}"}
        words |= {"Exists": e["key"], "DoesNotExist": f"!{e['key']}"}
        parts.append(words[e["operator"]])
    return ",".join(parts)


def process_gone(pid: int | None) -> bool:
    """Whether the process of an embedded cluster has ended. `pid` None, for any other cluster: False."""
    if pid is None:
        return False
    try:
        with open(f"/proc/{pid}/stat") as f:
            state = f.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # ended, but not yet reaped by its parent


T = TypeVar("T")
_NO_DRY_RUN = "does not support dry run"
_CORE = ("api", "v1", "namespaces")
_APPS = ("apis", "apps", "v1", "namespaces")
_DISCOVERY = ("apis", "discovery.k8s.io", "v1", "namespaces")
_SCALING = ("apis", "autoscaling", "v2", "namespaces")
_REVIEWS = ("apis", "authorization.k8s.io", "v1")


def _workload(kind: str, namespace: str, *rest: str) -> str:
    return path(*_APPS, namespace, f"{kind}s", *rest)


def _policy(namespace: str, *rest: str) -> str:
    return path("apis", "networking.k8s.io", "v1", "namespaces", namespace, "networkpolicies", *rest)


def _lease(namespace: str, *rest: str) -> str:
    return path("apis", "coordination.k8s.io", "v1", "namespaces", namespace, "leases", *rest)


def _or_none(call: Callable[[], Answer]) -> dict[str, Any] | None:
    """None where the API server itself reports that there is none of this name."""
    try:
        return call().found
    except ApiException as e:
        if gone(e):
            return None
        raise


def _if_spoken(call: Callable[[], T]) -> T | None:
    """For a custom kind. None: the cluster does not have it, or none of the name."""
    try:
        return call()
    except API_ERRORS as e:
        if no_such_api(e):
            return None
        raise


def _unless_conflict(call: Callable[[], Answer]) -> dict[str, Any] | None:
    try:
        return call().found
    except ApiException as e:
        if conflict(e):
            return None
        raise


def _unless_gone(call: Callable[[], Answer]) -> None:
    try:
        call()
    except ApiException as e:
        if not (gone(e) or conflict(e)):
            raise


def _message(error: ApiException) -> str:
    return line(str(error))

"""The traps of the Kubernetes API that a naive stand-in hides: one test per trap, mostly through the official client."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes import client, watch
from kubernetes.client import ApiException

from tests.embedded.recorded.stand import ADMIN, SCALER, LocalCluster, service, until, workload

ML = "/apis/apps/v1/namespaces/ml"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/ml/leases"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@pytest.fixture
def local() -> Iterator[LocalCluster]:
    """One running Deployment with one Pod, whose process takes a while to stop."""
    engine = workload("engine", stop_s=0.4)
    port = engine["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    with LocalCluster(engine, service("engine", port)) as made:
        made.up("engine")
        yield made


@pytest.fixture
def apps(local: LocalCluster) -> client.AppsV1Api:
    return client.AppsV1Api(local.client())


def refused(call: Any, *arguments: Any, **named: Any) -> ApiException:
    with pytest.raises(ApiException) as caught:
        call(*arguments, **named)
    return caught.value


def words(error: ApiException) -> str:
    return str(json.loads(error.body)["message"])


def scale_to(local: LocalCluster, replicas: Any, name: str = "engine", kind: str = "deployments") -> Any:
    return local.request("PATCH", f"{ML}/{kind}/{name}/scale", {"spec": {"replicas": replicas}}, MERGE)


def gone(local: LocalCluster, name: str = "engine") -> None:
    until(lambda: not local.pods(name), f"the Pods of {name} are gone")


# Trap 1
def test_a_scale_at_zero_has_no_replicas(apps: client.AppsV1Api) -> None:
    apps.patch_namespaced_deployment_scale("engine", "ml", {"spec": {"replicas": 0}})
    scale = apps.read_namespaced_deployment_scale("engine", "ml")
    assert (scale.api_version, scale.kind) == ("autoscaling/v1", "Scale")
    assert scale.spec.replicas is None
    assert apps.read_namespaced_deployment("engine", "ml").spec.replicas == 0


# Trap 2
def test_null_replicas_are_zero_through_scale_and_one_on_the_deployment(local: LocalCluster) -> None:
    assert scale_to(local, None).body["spec"] == {}
    assert local.get(f"{ML}/deployments/engine")["spec"]["replicas"] == 0
    answer = local.request("PATCH", f"{ML}/deployments/engine", {"spec": {"replicas": None}}, MERGE)
    assert answer.body["spec"]["replicas"] == 1


# Trap 3
def test_a_misspelt_field_changes_nothing_unless_it_is_strict(
    local: LocalCluster, apps: client.AppsV1Api
) -> None:
    before = apps.read_namespaced_deployment("engine", "ml")
    wrong = {"spec": {"replica": 0}}
    after = apps.patch_namespaced_deployment("engine", "ml", wrong)
    assert after.metadata.resource_version == before.metadata.resource_version
    error = refused(apps.patch_namespaced_deployment_scale, "engine", "ml", wrong, field_validation="Strict")
    assert error.status == 422
    assert 'unknown field "spec.replica"' in words(error)
    warned = local.request("PATCH", f"{ML}/deployments/engine/scale", wrong, MERGE)
    assert warned.headers["Warning"] == '299 - "unknown field \\"spec.replica\\""'


# Trap 4
def test_a_dict_is_a_merge_and_a_list_is_a_json_patch(apps: client.AppsV1Api) -> None:
    merged = apps.patch_namespaced_deployment("engine", "ml", {"metadata": {"annotations": {"a": "b"}}})
    assert merged.metadata.annotations["a"] == "b"
    operations = [
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "add", "path": "/metadata/labels/c", "value": "d"},
    ]
    assert apps.patch_namespaced_deployment("engine", "ml", operations).metadata.labels["c"] == "d"


# Trap 5
@pytest.mark.parametrize("subresource", ["", "/scale"])
def test_a_stale_version_in_a_patch_is_a_conflict(local: LocalCluster, subresource: str) -> None:
    body: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}
    path = f"{ML}/deployments/engine{subresource}"
    assert local.request("PATCH", path, body, MERGE).body["reason"] == "Conflict"
    body["metadata"]["resourceVersion"] = local.get(path)["metadata"]["resourceVersion"]
    assert local.request("PATCH", path, body, MERGE).status == 200


# Trap 5
def test_a_test_for_zero_fails_on_scale_and_passes_on_the_deployment(local: LocalCluster) -> None:
    scale_to(local, 0)
    operations = [{"op": "test", "path": "/spec/replicas", "value": 0}]
    assert local.request("PATCH", f"{ML}/deployments/engine/scale", operations, JSON_PATCH).status == 422
    assert local.request("PATCH", f"{ML}/deployments/engine", operations, JSON_PATCH).status == 200


# Trap 6
@pytest.mark.parametrize(
    ("name", "replicas", "token", "code"),
    [
        ("engine", -1, ADMIN, 422),  # fewer than none
        ("engine", "two", ADMIN, 422),  # no number
        ("engine", True, ADMIN, 422),  # no number either
        ("engine", 2**31, ADMIN, 422),  # no int32
        ("nosuch", 0, ADMIN, 404),
        ("nosuch", 0, SCALER, 403),  # outside resourceNames: its existence is not disclosed
        ("engine", 0, SCALER, 403),
        ("engine", 0, "nobody", 401),
        ("nosuch", 0, "nobody", 401),
        ("engine", 0, None, 403),  # system:anonymous
    ],
)
def test_a_forbidden_or_invalid_scale_is_refused(
    local: LocalCluster, name: str, replicas: Any, token: str | None, code: int
) -> None:
    path = f"{ML}/deployments/{name}/scale"
    answer = local.request("PATCH", path, {"spec": {"replicas": replicas}}, MERGE, token=token)
    assert (answer.status, answer.body["kind"], answer.body["code"]) == (code, "Status", code)
    assert local.get(f"{ML}/deployments/engine")["spec"]["replicas"] == 1


# Trap 6
def test_a_dry_run_changes_nothing(local: LocalCluster, apps: client.AppsV1Api) -> None:
    before = local.get(f"{ML}/deployments/engine")
    answer = apps.patch_namespaced_deployment_scale("engine", "ml", {"spec": {"replicas": 0}}, dry_run="All")
    assert answer.spec.replicas is None
    assert local.get(f"{ML}/deployments/engine") == before


# Trap 7
def test_a_patch_answers_before_anything_happened(local: LocalCluster, apps: client.AppsV1Api) -> None:
    local.lag(2.0)
    before = apps.read_namespaced_deployment("engine", "ml")
    apps.patch_namespaced_deployment_scale("engine", "ml", {"spec": {"replicas": 0}})
    at_once = apps.read_namespaced_deployment("engine", "ml")
    assert at_once.metadata.generation == before.metadata.generation + 1
    assert at_once.status == before.status
    assert at_once.status.observed_generation < at_once.metadata.generation
    until(
        lambda: (
            apps.read_namespaced_deployment("engine", "ml").status.observed_generation
            == at_once.metadata.generation
        ),
        "it was seen",
    )


# Trap 8
def test_counts_vanish_while_the_pod_still_runs(local: LocalCluster) -> None:
    with local.stopped() as pid:
        scale_to(local, 0)
        status = until(
            lambda: (s := local.get(f"{ML}/deployments/engine")["status"]) and "replicas" not in s and s,
            "the counts are gone",
        )
        assert not {"replicas", "readyReplicas", "availableReplicas"} & status.keys()
        (pod,) = local.pods("engine")
        assert "deletionTimestamp" in pod["metadata"]
        assert alive(pid)
        (endpoint,) = until(lambda: leaving(local), "its endpoint is going")
        assert endpoint["conditions"] == {"ready": False, "serving": True, "terminating": True}
    gone(local)
    until(lambda: local.slice_of("engine")["endpoints"] is None, "the endpoints are null")


def leaving(local: LocalCluster) -> Any:
    endpoints = local.slice_of("engine")["endpoints"]
    return endpoints and endpoints[0]["conditions"]["terminating"] and endpoints


def alive(pid: int) -> bool:
    """A zombie counts as dead."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# Trap 9
def test_a_watch_ends_in_time_and_sees_several_changes_of_one_scale(
    local: LocalCluster, apps: client.AppsV1Api
) -> None:
    begun = time.monotonic()
    version = apps.list_namespaced_deployment("ml").metadata.resource_version
    scale_to(local, 0)
    types = [
        event["type"]
        for event in watch.Watch().stream(
            apps.list_namespaced_deployment, "ml", resource_version=version, timeout_seconds=2
        )
    ]
    assert time.monotonic() - begun >= 2
    assert types.count("MODIFIED") == len(types) >= 4


# Trap 9
def test_a_watch_from_too_old_a_version_is_expired() -> None:
    with LocalCluster(workload("engine"), event_log=5) as local:
        local.up("engine")
        apps = client.AppsV1Api(local.client())
        stream = watch.Watch().stream(
            apps.list_namespaced_deployment, "ml", resource_version="2", timeout_seconds=1
        )
        error = refused(list, stream)
        assert (error.status, "Expired" in error.reason) == (410, True)


# Trap 9
def test_a_watch_by_label_reports_an_object_that_leaves_the_selector(local: LocalCluster) -> None:
    version = local.get(f"{ML}/deployments")["metadata"]["resourceVersion"]
    local.request("PATCH", f"{ML}/deployments/engine", {"metadata": {"labels": {"app": "other"}}}, MERGE)
    path = f"{ML}/deployments?watch=1&labelSelector=app%3Dengine&timeoutSeconds=0.1&resourceVersion={version}"
    assert [json.loads(line)["type"] for line in local.request("GET", path).body.splitlines()] == ["DELETED"]


# Trap 10
def test_errors_can_be_injected_before_the_api() -> None:
    """An ingress that answers HTML, an API that answers 429: the client raises with that answer."""
    errors = [web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")]

    @web.middleware
    async def before(request: web.Request, handler: Any) -> web.StreamResponse:
        return errors.pop() if errors else await handler(request)

    with LocalCluster(middlewares=[before]) as local:
        error = refused(client.CoreV1Api(local.client()).read_namespace, "ml")
        assert (error.status, error.body) == (502, "<html>bad gateway</html>")
        assert client.CoreV1Api(local.client()).read_namespace("ml").metadata.name == "ml"


def lease(name: str = "engine", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "ml"},
        "spec": {"holderIdentity": "run-a", "leaseDurationSeconds": 15, **spec},
    }


# Trap 11
def test_a_put_to_a_deleted_lease_creates_it_unless_it_names_the_uid(local: LocalCluster) -> None:
    leases = client.CoordinationV1Api(local.client())
    made = leases.create_namespaced_lease("ml", lease())
    assert [held["metadata"]["name"] for held in local.call(local.cluster.held_leases)] == ["engine"]
    leases.delete_namespaced_lease("engine", "ml")
    assert local.call(local.cluster.held_leases) == []
    again = lease()
    again["metadata"] |= {"resourceVersion": made.metadata.resource_version, "uid": made.metadata.uid}
    assert refused(leases.replace_namespaced_lease, "engine", "ml", again).status == 409
    del again["metadata"]["uid"]
    answer = local.request("PUT", f"{LEASES}/engine", again)
    assert answer.status == 201
    assert answer.body["metadata"]["uid"] != made.metadata.uid


# Trap 11
def test_a_lease_is_a_lock(local: LocalCluster) -> None:
    leases = client.CoordinationV1Api(local.client())
    made = leases.create_namespaced_lease("ml", lease())
    error = refused(leases.create_namespaced_lease, "ml", lease(holderIdentity="run-b"))
    assert (error.status, json.loads(error.body)["reason"]) == (409, "AlreadyExists")
    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=str(uuid.uuid4())))
    assert refused(leases.delete_namespaced_lease, "engine", "ml", body=wrong).status == 409
    right = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=made.metadata.uid))
    assert leases.delete_namespaced_lease("engine", "ml", body=right)["status"] == "Success"
    assert refused(leases.read_namespaced_lease, "engine", "ml").status == 404


# Trap 11
@pytest.mark.parametrize(("path", "code"), [("/scale", 409), ("", 422)])
def test_a_wrong_uid_is_a_conflict_on_scale_and_invalid_on_the_deployment(
    local: LocalCluster, path: str, code: int
) -> None:
    body = {"metadata": {"uid": str(uuid.uuid4())}, "spec": {"replicas": 1}}
    assert local.request("PATCH", f"{ML}/deployments/engine{path}", body, MERGE).status == code


# Trap 11
@pytest.mark.parametrize(("field", "moved"), [("annotations", 1), ("labels", 0)])
def test_annotations_are_a_new_generation_and_labels_are_not(
    local: LocalCluster, field: str, moved: int
) -> None:
    before = local.get(f"{ML}/deployments/engine")["metadata"]
    answer = local.request("PATCH", f"{ML}/deployments/engine", {"metadata": {field: {"a": "b"}}}, MERGE)
    assert answer.body["metadata"]["generation"] == before["generation"] + moved
    assert answer.body["metadata"]["resourceVersion"] != before["resourceVersion"]


# Trap 12
def test_a_failed_pod_survives_the_scale_to_zero(local: LocalCluster) -> None:
    (pod,) = local.pods("engine")
    name = pod["metadata"]["name"]
    pid = local.call(local.cluster.pid_of, name)
    core = client.CoreV1Api(local.client())
    core.patch_namespaced_pod_status(name, "ml", {"status": {"phase": "Failed", "reason": "Evicted"}})
    until(lambda: not alive(pid), "the process of the failed Pod is gone")
    until(lambda: len(local.pods("engine")) == 2, "it has a successor")
    local.up("engine")
    scale_to(local, 0)
    until(
        lambda: [p["status"]["phase"] for p in local.pods("engine")] == ["Failed"],
        "only the failed one is left",
    )
    core.delete_namespaced_pod(name, "ml")
    assert local.pods("engine") == []


# Trap 12
def test_a_stateful_set_counts_its_pod_until_it_has_ended_and_then_reports_zero() -> None:
    with LocalCluster(workload("store", kind="StatefulSet")) as local:
        local.up("store", "statefulsets")
        path = f"{ML}/statefulsets/store"
        with local.stopped("store"):
            scale_to(local, 0, "store", "statefulsets")
            until(lambda: "deletionTimestamp" in local.pods("store")[0]["metadata"], "the Pod is going")
            status = local.get(path)["status"]
            assert (status["replicas"], status["readyReplicas"]) == (1, 1)
        gone(local, "store")
        status = until(lambda: (s := local.get(path)["status"])["replicas"] == 0 and s, "an explicit zero")
        assert "readyReplicas" not in status
        assert status["availableReplicas"] == 0
        scale_to(local, 1, "store", "statefulsets")
        local.up("store", "statefulsets")
        assert [p["metadata"]["name"] for p in local.pods("store")] == ["store-0"]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("terminationGracePeriodSeconds", 0.5, 400),
        ("terminationGracePeriodSeconds", -1, 422),
        ("readinessProbe", {"periodSeconds": 0.1}, 400),
    ],
)
def test_durations_of_a_pod_are_whole_seconds(field: str, value: Any, code: int) -> None:
    """The typed clients, Python's and kubectl's, cannot read an object with one."""
    made = workload("half")
    pod = made["spec"]["template"]["spec"]
    (pod["containers"][0] if field == "readinessProbe" else pod)[field] = value
    with LocalCluster() as local:
        answer = local.request("POST", f"{ML}/deployments", made)
    assert (answer.status, answer.body["kind"]) == (code, "Status")


@pytest.mark.parametrize(
    ("path", "code", "plain"),
    [
        ("/apis/batch/v1/namespaces/ml/jobs", 404, True),
        ("/apis/autoscaling/v1/namespaces/ml/horizontalpodautoscalers", 404, True),
        ("/apis/keda.sh/v1alpha1/namespaces/ml/scaledobjects", 404, True),
        ("/apis/apps/v1/namespaces/ml/daemonsets", 404, False),
        ("/api/v1/namespaces/ml/pods/x/exec", 404, False),
        ("/openapi/v2", 404, True),
        ("/nonsense", 404, True),
    ],
)
def test_unsupported_resources_do_not_exist(path: str, code: int, plain: bool) -> None:
    with LocalCluster() as local:
        answer = local.request("GET", path)
    assert answer.status == code
    assert answer.content_type == ("text/plain; charset=utf-8" if plain else "application/json")

"""Removed Pods: evictions, the budgets that refuse them, and deletions without a grace period."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes import client

from tests.embedded.recorded.stand import LocalCluster, until, workload
from tests.embedded.test_apiserver import MERGE, ML, alive, refused, scale_to
from tests.embedded.test_apiserver_pods import STUBBORN, child_of, pid_of

PODS = "/api/v1/namespaces/ml/pods"
BUDGETS = "/apis/policy/v1/namespaces/ml/poddisruptionbudgets"


def eviction(name: str, **options: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "ml"}
    made: dict[str, Any] = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
    return {**made, "deleteOptions": options} if options else made


def budget(name: str = "engine", app: str = "engine", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "ml"},
        "spec": {"selector": {"matchLabels": {"app": app}}, **spec},
    }


def name_of(local: LocalCluster, name: str = "engine") -> str:
    return str(local.pods(name)[0]["metadata"]["name"])


def replaced(local: LocalCluster, name: str, before: str, kind: str = "deployments") -> None:
    until(
        lambda: before not in [p["metadata"]["uid"] for p in local.pods(name)] and local.pods(name),
        f"{name} has a new Pod",
    )
    local.up(name, kind)


def test_an_evicted_pod_goes_with_its_grace_and_is_replaced() -> None:
    with LocalCluster(workload("engine", grace_s=20)) as local:
        local.up("engine")
        (before,) = local.pods("engine")
        name = before["metadata"]["name"]
        core = client.CoreV1Api(local.client())
        with local.stopped() as pid:
            core.create_namespaced_pod_eviction(name, "ml", client.V1Eviction(metadata={"name": name}))
            going = local.get(f"{PODS}/{name}")
            assert going["metadata"]["deletionGracePeriodSeconds"] == 20
            assert alive(pid)
        replaced(local, "engine", before["metadata"]["uid"])
        assert not alive(pid)


def test_an_eviction_answers_created_and_success() -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        answer = local.request("POST", f"{PODS}/{name_of(local)}/eviction", eviction(name_of(local)))
    assert answer.status == 201
    assert (answer.body["kind"], answer.body["status"]) == ("Status", "Success")


def test_an_eviction_can_set_the_grace_period(tmp_path: Any) -> None:
    """The Pod's own grace period of ten minutes would be longer than the test."""
    stubborn = workload("engine", command=["bash", "-c", STUBBORN], grace_s=600)
    with LocalCluster(stubborn, log_dir=tmp_path) as local:
        local.up("engine")
        name, pid = name_of(local), pid_of(local)
        local.request("POST", f"{PODS}/{name}/eviction", eviction(name, gracePeriodSeconds=0))
        until(lambda: not alive(pid), "it was killed")


def test_a_dry_eviction_changes_nothing() -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        name = name_of(local)
        answer = local.request("POST", f"{PODS}/{name}/eviction", eviction(name, dryRun=["All"]))
        assert answer.status == 201
        assert local.request("POST", f"{PODS}/{name}/eviction?dryRun=All", eviction(name)).status == 201
        assert "deletionTimestamp" not in local.get(f"{PODS}/{name}")["metadata"]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("nosuch/eviction", eviction("nosuch"), 404),
        ("POD/eviction", eviction("another"), 400),
        ("POD/eviction", {"kind": "Pod", "apiVersion": "v1"}, 400),
        ("POD/eviction", None, 400),
        ("POD/binding", eviction("POD"), 404),
    ],
)
def test_an_invalid_eviction_is_refused(path: str, body: Any, code: int) -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        answer = local.request("POST", f"{PODS}/{path.replace('POD', name_of(local))}", body)
        assert (answer.status, answer.body["kind"]) == (code, "Status")
        assert "deletionTimestamp" not in local.pods("engine")[0]["metadata"]


@pytest.mark.parametrize(
    ("spec", "allowed", "desired"),
    [
        ({"minAvailable": 1}, 0, 1),
        ({"minAvailable": 0}, 1, 0),
        ({"minAvailable": "50%"}, 0, 1),
        ({"maxUnavailable": 0}, 0, 1),
        ({"maxUnavailable": 1}, 1, 0),
        ({"maxUnavailable": "10%"}, 1, 0),  # rounded up
        ({}, 0, 1),
    ],
)
def test_a_budget_counts_the_allowed_disruptions(spec: dict[str, Any], allowed: int, desired: int) -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        policy = client.PolicyV1Api(local.client())
        policy.create_namespaced_pod_disruption_budget("ml", budget(**spec))
        read = policy.read_namespaced_pod_disruption_budget
        until(lambda: read("engine", "ml").status.observed_generation == 1, "it was counted")
        status = read("engine", "ml").status
        assert (status.disruptions_allowed, status.desired_healthy) == (allowed, desired)
        assert (status.current_healthy, status.expected_pods) == (1, 1)
        answer = local.request("POST", f"{PODS}/{name_of(local)}/eviction", eviction(name_of(local)))
        assert answer.status == (201 if allowed else 429)


def test_an_eviction_that_a_budget_forbids_is_too_many_requests() -> None:
    with LocalCluster(workload("engine"), budget(minAvailable=1)) as local:
        local.up("engine")
        name = name_of(local)
        core = client.CoreV1Api(local.client())
        error = refused(core.create_namespaced_pod_eviction, name, "ml", eviction(name))
        assert error.status == 429
        body = json.loads(error.body)
        assert body["reason"] == "TooManyRequests"
        assert body["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
        assert body["details"]["causes"] == [
            {
                "reason": "DisruptionBudget",
                "message": "The disruption budget engine needs 1 healthy pods and has 1 currently",
            }
        ]
        assert "deletionTimestamp" not in local.pods("engine")[0]["metadata"]
        # A delete is not an eviction: budgets do not apply.
        uid = local.pods("engine")[0]["metadata"]["uid"]
        core.delete_namespaced_pod(name, "ml")
        replaced(local, "engine", uid)


def test_a_budget_allows_one_eviction_and_refuses_the_next() -> None:
    both = [workload(name) for name in ("one", "two")]
    for made in both:
        made["spec"]["template"]["metadata"]["labels"]["tier"] = "engines"
    shared = budget("engines", minAvailable=1)
    shared["spec"]["selector"] = {
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["engines"]}]
    }
    with LocalCluster(*both, shared) as local:
        local.up("one")
        local.up("two")
        first, second = name_of(local, "one"), name_of(local, "two")
        local.lag(1.0)  # no successor comes between the two
        assert local.request("POST", f"{PODS}/{first}/eviction", eviction(first)).status == 201
        assert local.request("POST", f"{PODS}/{second}/eviction", eviction(second)).status == 429


def test_two_budgets_for_one_pod_are_an_error_and_a_deleted_one_is_not_checked() -> None:
    with LocalCluster(workload("engine"), budget(minAvailable=1), budget("twin", minAvailable=1)) as local:
        local.up("engine")
        name = name_of(local)
        assert local.request("POST", f"{PODS}/{name}/eviction", eviction(name)).status == 500
        for made in ("engine", "twin"):
            assert local.request("DELETE", f"{BUDGETS}/{made}").body["status"] == "Success"
        assert local.request("POST", f"{PODS}/{name}/eviction", eviction(name)).status == 201


def test_a_pod_that_is_not_running_yet_may_be_evicted() -> None:
    never = workload("engine", ready_s=1000)
    with LocalCluster(never, budget(minAvailable=1, unhealthyPodEvictionPolicy="AlwaysAllow")) as local:
        pid_of(local)
        name = name_of(local)
        assert local.request("POST", f"{PODS}/{name}/eviction", eviction(name)).status == 201


@pytest.mark.parametrize(
    "spec",
    [{"minAvailable": 1, "maxUnavailable": 1}, {"minAvailable": -1}, {"maxUnavailable": "many"}],
)
def test_an_invalid_budget_is_refused(spec: dict[str, Any]) -> None:
    with LocalCluster() as local:
        assert local.request("POST", BUDGETS, budget(**spec)).status == 422


def test_a_budget_can_be_changed() -> None:
    with LocalCluster(workload("engine"), budget(minAvailable=1)) as local:
        local.up("engine")
        answer = local.request("PATCH", f"{BUDGETS}/engine", {"spec": {"minAvailable": 0}}, MERGE)
        assert answer.body["metadata"]["generation"] == 2
        until(lambda: local.get(f"{BUDGETS}/engine")["status"]["disruptionsAllowed"] == 1, "one may go")


# Deletion without grace
@pytest.mark.parametrize("given_in", ["body", "query", "client"])
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_grace_period_of_zero_kills_at_once_and_the_workload_creates_a_new_pod(
    given_in: str, kind: str, tmp_path: Any
) -> None:
    """With its grace period of ten minutes, a process that ignores SIGTERM would outlast the test."""
    stubborn = workload("engine", kind=kind, command=["bash", "-c", STUBBORN], grace_s=600)
    plural = f"{kind.lower()}s"
    with LocalCluster(stubborn, log_dir=tmp_path) as local:
        local.up("engine", plural)
        (before,) = local.pods("engine")
        name, pid = before["metadata"]["name"], pid_of(local)
        if given_in == "client":
            core = client.CoreV1Api(local.client())
            core.delete_namespaced_pod(name, "ml", grace_period_seconds=0)
        elif given_in == "query":
            local.request("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
        else:
            local.request("DELETE", f"{PODS}/{name}", {"kind": "DeleteOptions", "gracePeriodSeconds": 0})
        replaced(local, "engine", before["metadata"]["uid"], plural)
        assert not alive(pid)
        assert pid_of(local) != pid
        assert "heard TERM" not in (tmp_path / f"{name}.log").read_text()


def test_the_grace_period_of_a_terminating_pod_can_only_become_shorter(tmp_path: Any) -> None:
    stubborn = workload("engine", command=["bash", "-c", STUBBORN], grace_s=600)
    with LocalCluster(stubborn, log_dir=tmp_path) as local:
        local.up("engine")
        name, pid = name_of(local), pid_of(local)
        child_of(tmp_path)  # from then on it handles SIGTERM; before, SIGTERM would kill it
        local.request("DELETE", f"{PODS}/{name}")
        until(lambda: "heard TERM" in (tmp_path / f"{name}.log").read_text(), "it got SIGTERM")
        local.request("DELETE", f"{PODS}/{name}?gracePeriodSeconds=900")
        assert local.get(f"{PODS}/{name}")["metadata"]["deletionGracePeriodSeconds"] == 600
        assert alive(pid)
        local.request("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
        until(lambda: not alive(pid), "it was killed")


def test_the_second_of_two_replicas_waits_for_the_port_and_is_not_counted_as_ready() -> None:
    with LocalCluster(workload("engine", replicas=2)) as local:
        status = until(
            lambda: (s := local.get(f"{ML}/deployments/engine")["status"]).get("readyReplicas") and s,
            "one is ready",
        )
        assert (status["replicas"], status["readyReplicas"], status["unavailableReplicas"]) == (2, 1, 1)
        assert sorted(p["status"]["phase"] for p in local.pods("engine")) == ["Pending", "Running"]
        scale_to(local, 1)
        until(
            lambda: "unavailableReplicas" not in local.get(f"{ML}/deployments/engine")["status"],
            "the one that is left is counted alone",
        )

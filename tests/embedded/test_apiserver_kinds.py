"""What a preflight reads: other controllers of the replicas, owners of a workload, rights."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from embedded.apiserver.cluster import Cluster
from embedded.apiserver.rights import Identity, Rule
from tests.embedded.recorded import stand as stands
from tests.embedded.recorded.stand import LocalCluster, until, workload
from tests.embedded.test_apiserver import MERGE, ML, refused

AUTOSCALERS = "/apis/autoscaling/v2/namespaces/ml/horizontalpodautoscalers"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/ml/scaledobjects"
STRATEGIC = "application/strategic-merge-patch+json"
CHAOS = "token-of-chaos"


# HorizontalPodAutoscalers
def autoscaler(**spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "engine"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "engine", "namespace": "ml"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3, **spec},
    }


def test_an_autoscaler_has_defaults_and_reports_why_it_does_nothing() -> None:
    with LocalCluster(workload("engine"), autoscaler()) as local:
        scaling = client.AutoscalingV2Api(local.client())
        read = scaling.read_namespaced_horizontal_pod_autoscaler
        until(lambda: read("engine", "ml").status.conditions, "it has looked at its target")
        found = read("engine", "ml")
        assert (found.spec.min_replicas, found.spec.metrics[0].resource.name) == (1, "cpu")
        assert found.spec.scale_target_ref.name == "engine"
        conditions = {c.type: (c.status, c.reason) for c in found.status.conditions}
        assert conditions["ScalingActive"] == ("False", "FailedGetResourceMetric")
        scaling.delete_namespaced_horizontal_pod_autoscaler("engine", "ml")
        assert scaling.list_namespaced_horizontal_pod_autoscaler("ml").items == []


@pytest.mark.parametrize(
    "spec", [{"maxReplicas": 0}, {"maxReplicas": None}, {"minReplicas": 4}, {"scaleTargetRef": {}}]
)
def test_an_invalid_autoscaler_is_refused(spec: dict[str, Any]) -> None:
    with LocalCluster() as local:
        assert local.request("POST", AUTOSCALERS, autoscaler(**spec)).status == 422


# KEDA
SCALED = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "engine", "namespace": "ml"},
    "spec": {"scaleTargetRef": {"name": "engine"}, "triggers": [{"type": "cron", "metadata": {}}]},
}


def test_without_keda_its_api_group_does_not_exist() -> None:
    with LocalCluster() as local:
        custom = client.CustomObjectsApi(local.client())
        error = refused(custom.list_namespaced_custom_object, "keda.sh", "v1alpha1", "ml", "scaledobjects")
        assert (error.status, error.body) == (404, "404 page not found\n")
        assert local.request("GET", "/apis/keda.sh/v1alpha1").status == 404
        assert local.request("GET", "/apis/keda.sh").status == 404
        with pytest.raises(ValueError, match="this kind cannot be applied"):
            local.call(local.cluster.apply, SCALED)


def test_with_keda_a_scaled_object_is_stored() -> None:
    with LocalCluster(SCALED, keda=True) as local:
        custom = client.CustomObjectsApi(local.client())
        where = ("keda.sh", "v1alpha1", "ml", "scaledobjects")
        (found,) = custom.list_namespaced_custom_object(*where)["items"]
        assert found["kind"] == "ScaledObject"  # the items of custom resources keep their kind
        assert found["spec"] == SCALED["spec"]
        paused = {"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}
        answer = custom.patch_namespaced_custom_object(*where, "engine", paused)
        assert answer["metadata"]["annotations"] == paused["metadata"]["annotations"]
        assert local.request("PATCH", f"{SCALED_OBJECTS}/engine", paused, STRATEGIC).status == 415
        assert "keda.sh" in [group["name"] for group in local.get("/apis")["groups"]]
        custom.delete_namespaced_custom_object(*where, "engine")
        assert custom.list_namespaced_custom_object(*where)["items"] == []


# Who owns a workload
def test_owners_labels_and_annotations_of_a_workload_are_kept() -> None:
    owner = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "name": "engine",
        "uid": "0c1c0a3e-0000-4000-8000-000000000000",
        "controller": True,
    }
    given = {
        "labels": {"argocd.argoproj.io/instance": "models", "kustomize.toolkit.fluxcd.io/name": "models"},
        "annotations": {"meta.helm.sh/release-name": "models"},
        "ownerReferences": [owner],
    }
    for kind in ("Deployment", "StatefulSet"):
        made = workload("engine", kind=kind, replicas=0)
        made["metadata"] |= given
        with LocalCluster(made) as local:
            path = f"{ML}/{kind.lower()}s/engine"
            local.up("engine", f"{kind.lower()}s")
            local.request("PATCH", f"{path}/scale", {"spec": {"replicas": 0}}, MERGE)
            meta = local.get(path)["metadata"]
            assert meta["ownerReferences"] == [owner]
            assert meta["labels"].items() >= given["labels"].items()
            assert meta["annotations"].items() >= given["annotations"].items()
            (listed,) = client.AppsV1Api(local.client()).list_namespaced_deployment("ml").items or [None]
            assert kind == "StatefulSet" or listed.metadata.owner_references[0].kind == "InferenceService"


def test_the_namespaces_of_a_new_cluster_are_there() -> None:
    with LocalCluster() as local:
        listed = client.CoreV1Api(local.client()).list_namespace().items
    names = {namespace.metadata.name for namespace in listed}
    assert names >= {"default", "kube-system", "kube-node-lease"}


# Rights
RULES = (
    Rule(("get", "patch"), ("",), ("nodes",), ("embedded",)),
    Rule(("list",), ("",), ("nodes",)),
    Rule(("create",), ("",), ("pods/eviction",), namespace="ml"),
    Rule(("delete", "list"), ("",), ("pods",), namespace="ml"),
    Rule(("create", "delete", "get"), ("networking.k8s.io",), ("networkpolicies",), namespace="ml"),
    Rule(("list",), ("autoscaling",), ("horizontalpodautoscalers",), namespace="ml"),
    Rule(("list",), ("policy",), ("poddisruptionbudgets",), namespace="ml"),
    Rule(("get",), ("apps",), ("*/scale",), namespace="ml"),
)


@pytest.mark.parametrize(
    ("verb", "group", "resource", "subresource", "namespace", "name", "expected"),
    [
        ("patch", "", "nodes", None, None, "embedded", True),
        ("patch", "", "nodes", None, None, "another", False),
        ("patch", "", "nodes", None, None, None, False),
        ("list", "", "nodes", None, None, None, True),
        ("create", "", "pods", "eviction", "ml", "engine-1", True),
        ("create", "", "pods", "eviction", "other", "engine-1", False),
        ("create", "", "pods", "eviction", None, None, False),  # in every namespace
        ("create", "", "pods", None, "ml", None, False),
        ("delete", "", "pods", None, "ml", "engine-1", True),
        ("delete", "", "nodes", None, "ml", "embedded", False),
        ("create", "networking.k8s.io", "networkpolicies", None, "ml", None, True),
        ("update", "networking.k8s.io", "networkpolicies", None, "ml", None, False),
        ("list", "autoscaling", "horizontalpodautoscalers", None, "ml", None, True),
        ("list", "policy", "poddisruptionbudgets", None, "ml", None, True),
        ("create", "policy", "pods", "eviction", "ml", None, False),  # it is of the core group
        ("get", "apps", "statefulsets", "scale", "ml", "engine", True),
        ("get", "apps", "statefulsets", None, "ml", "engine", False),
        ("list", "keda.sh", "scaledobjects", None, "ml", None, False),
    ],
)
def test_a_review_answers_for_nodes_evictions_and_policies(
    verb: str,
    group: str,
    resource: str,
    subresource: str | None,
    namespace: str | None,
    name: str | None,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attributes = client.V1ResourceAttributes(
        verb=verb, group=group, resource=resource, subresource=subresource, namespace=namespace, name=name
    )
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    )
    monkeypatch.setattr(stands, "TOKENS", [*stands.TOKENS, Identity("chaos", CHAOS, RULES)])
    with LocalCluster() as local:
        answer = client.AuthorizationV1Api(local.client(CHAOS)).create_self_subject_access_review(review)
    assert answer.status.allowed is expected


def test_the_rights_apply_to_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stands, "TOKENS", [*stands.TOKENS, Identity("chaos", CHAOS, RULES)])
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        local.call(local.cluster.apply, {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "another"}})
        cordon = {"spec": {"unschedulable": True}}
        codes = {
            name: local.request("PATCH", f"/api/v1/nodes/{name}", cordon, MERGE, token=CHAOS).status
            for name in ("embedded", "another")
        }
        assert codes == {"embedded": 200, "another": 403}
        refused_ = local.request("PUT", "/api/v1/nodes/embedded", {}, token=CHAOS)
        assert refused_.body["message"] == (
            'nodes "embedded" is forbidden: User "chaos" cannot update resource "nodes" in API group ""'
            " at the cluster scope"
        )
        name = local.pods("engine")[0]["metadata"]["name"]
        path = f"/api/v1/namespaces/ml/pods/{name}/eviction"
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        answer = local.request("POST", path, body, token=stands.OPERATOR)
        assert answer.status == 403
        assert 'cannot create resource "pods/eviction"' in answer.body["message"]
        assert local.request("POST", path, body, token=CHAOS).status == 201


def test_a_cluster_serves_keda_only_if_enabled() -> None:
    """Two clusters in one process do not share their supported resources."""
    with LocalCluster(keda=True) as one, LocalCluster() as other:
        assert [s.request("GET", SCALED_OBJECTS).status for s in (one, other)] == [200, 404]
        assert isinstance(one.cluster, Cluster)

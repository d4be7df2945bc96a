"""Other controllers of a target's replicas: each is reported before an inject."""

import pytest

from chaos import faults
from chaos.kube import other_controllers
from chaos.kube.workload import Workload
from chaos.target import Handle
from tests.chaos.small import Small, sleepers
from tests.chaos.targets import on

ENGINE = Handle("deployment", "ml/engine")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Small(tmp_path_factory.mktemp("movers"), keda=True) as made:
        yield made


@pytest.fixture
def small(cluster):
    yield cluster
    for group, plural in (
        ("autoscaling/v2", "horizontalpodautoscalers"),
        ("keda.sh/v1alpha1", "scaledobjects"),
    ):
        path = f"/apis/{group}/namespaces/ml/{plural}"
        for found in cluster.get(path)["items"]:
            cluster.delete(f"{path}/{found['metadata']['name']}")


def target(small: Small, kind: str = "Deployment", to: int = 0, **meta) -> list[str]:
    """The sentences on a workload with these marks."""
    made = sleepers(replicas=0, kind=kind)
    made["metadata"] |= meta
    small.apply(made)
    return other_controllers.of(small.admin, Workload(small.admin, Handle(kind.lower(), "ml/engine")), to)


def autoscaler(ref: dict, **bounds) -> dict:
    meta = {"name": "by-load", "namespace": "ml"}
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", **ref}, "maxReplicas": 3, **bounds}
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": spec,
    }  # fmt: skip


def scaled_object(ref: dict, **bounds) -> dict:
    meta = {"name": "by-queue", "namespace": "ml"}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": meta,
        "spec": {"scaleTargetRef": ref, **bounds},
    }


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"ownerReferences": [{"kind": "Rollout", "name": "llm", "uid": "1"}]}, "owned by Rollout llm"),
        ({"ownerReferences": [{"kind": "InferenceService", "name": "llm", "uid": "1"}]}, "KServe (llm), autoscalerClass not given"),
        ({"labels": {"argocd.argoproj.io/instance": "stack"}}, "Argo CD (stack): with selfHeal"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "stack:apps"}}, "Argo CD (stack:apps): with selfHeal"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "stack"}}, "Flux (stack): it puts replicas"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "stack"}}, "Flux, a HelmRelease (stack)"),
        ({"labels": {"serving.kserve.io/inferenceservice": "llm"}}, "KServe (llm), autoscalerClass not given"),
        (
            {
                "labels": {"serving.kserve.io/inferenceservice": "llm"},
                "annotations": {"serving.kserve.io/autoscalerClass": "none"},
            },
            "KServe (llm), autoscalerClass none",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_the_marks_of_other_controllers_of_the_replicas_are_known(small, meta, words):
    (lines,) = target(small, **meta)
    assert lines.startswith(words)


def test_nobody_is_named_where_there_is_nobody(small):
    assert target(small) == []


@pytest.mark.parametrize(
    ("ref", "named"),
    [
        ({"kind": "Deployment", "name": "engine"}, True),
        ({"kind": "Deployment", "name": "other"}, False),
        ({"kind": "StatefulSet", "name": "engine"}, False),
    ],
    ids=str,
)
def test_an_autoscaler_is_named_where_it_scales_this_target(small, ref, named):
    small.apply(autoscaler(ref))
    lines = target(small)
    assert [line.startswith("HorizontalPodAutoscaler by-load: zero replicas stick") for line in lines] == [
        True
    ] * named


@pytest.mark.parametrize(
    ("ref", "kind", "named"),
    [
        ({"name": "engine"}, "Deployment", True),  # its kind may be left out
        ({"name": "engine"}, "StatefulSet", False),
        ({"kind": "StatefulSet", "name": "engine"}, "StatefulSet", True),
        ({"name": "other"}, "Deployment", False),
    ],
    ids=str,
)
def test_a_scaled_object_is_named_where_it_scales_this_target(small, ref, kind, named):
    small.apply(scaled_object(ref))
    lines = target(small, kind)
    assert [line.startswith("KEDA's ScaledObject by-queue: it undoes a scale") for line in lines] == [
        True
    ] * named


@pytest.mark.parametrize(
    ("to", "bounds", "words"),
    [
        (0, {"minReplicas": 2}, "zero replicas stick, since they disable it"),
        (1, {"minReplicas": 2}, "A SCALE TO 1 WILL BE UNDONE within seconds, and the step ends there: its minReplicas is 2"),
        (2, {"minReplicas": 2}, "it may move away from 2 by its metrics at any time (minReplicas 2, maxReplicas 3)"),
        (1, {}, "it may move away from 1 by its metrics at any time (minReplicas 1, maxReplicas 3)"),
        (4, {}, "A SCALE TO 4 WILL BE UNDONE within seconds, and the step ends there: its maxReplicas is 3"),
    ],
    ids=str,
)  # fmt: skip
def test_what_an_autoscaler_does_to_a_scale_follows_from_its_bounds(small, to, bounds, words):
    small.apply(autoscaler({"kind": "Deployment", "name": "engine"}, **bounds))
    (lines,) = target(small, to=to)
    assert lines.startswith(f"HorizontalPodAutoscaler by-load: {words}")


@pytest.mark.parametrize(
    ("to", "bounds", "words"),
    [
        (0, {}, "it undoes a scale to 0 within its polling interval"),
        (1, {"minReplicaCount": 2}, "the autoscaler that it has made undoes a scale to 1 within seconds"),
        (1, {}, "the autoscaler that it has made may move away from 1 at any time"),
        (9, {"maxReplicaCount": 3}, "the autoscaler that it has made undoes a scale to 9 within seconds"),
    ],
    ids=str,
)
def test_what_keda_does_to_a_scale_follows_from_its_bounds(small, to, bounds, words):
    small.apply(scaled_object({"name": "engine"}, **bounds))
    (lines,) = target(small, to=to)
    assert lines.startswith(f"KEDA's ScaledObject by-queue: {words}")


def test_all_of_them_are_named_at_once(small):
    small.apply(autoscaler({"kind": "Deployment", "name": "engine"}))
    small.apply(scaled_object({"name": "engine"}))
    assert len(target(small, labels={"argocd.argoproj.io/instance": "stack"})) == 3


def test_a_cluster_without_keda_has_no_scaled_objects(tmp_path):
    with Small(tmp_path) as small:
        assert target(small) == []


def test_a_scale_fault_names_them(small):
    small.apply(autoscaler({"kind": "Deployment", "name": "engine"}))
    target(small)
    assert len(faults.make("scale_to_zero", small.admin, on(ENGINE), {}).others()) == 1

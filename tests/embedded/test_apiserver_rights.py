"""The identity of the embedded cluster, and its authorization."""

from __future__ import annotations

import pytest
from kubernetes import client

from embedded.apiserver.rights import Attributes, Identity, allowed, rules_of
from tests.embedded.recorded.stand import ADMIN, OPERATOR, SCALER, LocalCluster


def test_the_embedded_cluster_identifies_itself() -> None:
    with LocalCluster() as one, LocalCluster() as other:
        found = [client.CoreV1Api(s.client()).read_namespace("kube-system").metadata for s in (one, other)]
        assert all(meta.labels["brownout.dev/embedded"] == "true" for meta in found)
        assert found[0].uid != found[1].uid
        assert found[0].uid == one.call(lambda: one.cluster.uid)


@pytest.mark.parametrize(
    ("token", "verb", "resource", "subresource", "name", "expected"),
    [
        (SCALER, "patch", "deployments", "scale", "vllm-server", True),
        (SCALER, "patch", "deployments", "scale", "ollama", False),  # another name
        (SCALER, "patch", "deployments", "scale", None, False),  # no name: the rule is by name
        (SCALER, "get", "deployments", None, "vllm-server", False),
        (OPERATOR, "watch", "deployments", None, "vllm-server", True),
        (ADMIN, "delete", "deployments", None, "ollama", True),
    ],
)
def test_an_access_review_reports_what_is_allowed(
    token: str, verb: str, resource: str, subresource: str | None, name: str | None, expected: bool
) -> None:
    attributes = client.V1ResourceAttributes(
        group="apps", namespace="ml", verb=verb, resource=resource, subresource=subresource, name=name
    )
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    )
    with LocalCluster() as local:
        answer = client.AuthorizationV1Api(local.client(token)).create_self_subject_access_review(review)
    assert answer.status.allowed is expected


def test_a_role_manifest_can_be_tested() -> None:
    role = {"rules": [{"verbs": ["create"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}]}
    identity = Identity("chaos", "token-of-chaos", rules_of(role, "ml"))
    assert allowed(identity, Attributes("create", "coordination.k8s.io", "leases", namespace="ml"))
    assert not allowed(identity, Attributes("create", "coordination.k8s.io", "leases", namespace="other"))

"""Admission and field managers, as in a real API server."""

import pytest

from embedded.apiserver import admission
from embedded.apiserver.admission import Admission
from tests.embedded.recorded.stand import LocalCluster, service, until, workload

ENGINE = "/apis/apps/v1/namespaces/ml/deployments/engine"
MERGE = "application/merge-patch+json"


@pytest.fixture
def local():
    made = workload("engine", replicas=2, command=["sleep", "1000"])
    del made["spec"]["template"]["spec"]["containers"][0]["ports"]
    with LocalCluster(made) as found:
        yield found


def scaled(local, replicas, manager="brownout", dry_run=False):
    query = f"?fieldManager={manager}" + ("&dryRun=All" if dry_run else "")
    return local.request("PATCH", f"{ENGINE}/scale{query}", {"spec": {"replicas": replicas}}, MERGE)


def edited(local, body):
    assert local.request("PATCH", f"{ENGINE}?fieldManager=kubectl-edit", body, MERGE).status == 200


def owners(local):
    entries = local.get(ENGINE)["metadata"]["managedFields"]
    return [(e["manager"], e.get("subresource"), "time" in e) for e in entries if "f:replicas" in e["fieldsV1"]["f:spec"]]  # fmt: skip


def test_the_writer_of_the_replicas_owns_them_and_a_zero_has_no_owner(local):
    assert owners(local) == [("kubectl-client-side-apply", None, True)]
    scaled(local, 3)
    assert owners(local) == [("brownout", "scale", False)]
    scaled(local, 3, "kubectl")  # which changes nothing
    assert owners(local) == [("brownout", "scale", False)]
    scaled(local, 0)
    assert owners(local) == []
    assert local.get(ENGINE)["metadata"]["managedFields"] != []
    for replicas, manager in (
        (1, "kubectl"),
        (3, "brownout"),
        (2, "kube-controller-manager"),
        (0, "kubectl"),
        (2, "kubectl"),
    ):
        scaled(local, replicas, manager)
        assert owners(local) == [], "no scale owns them again"
    edited(local, {"metadata": {"annotations": {"k": "v"}}})
    edited(local, {"spec": {"replicas": 2}})  # which changes nothing
    assert owners(local) == []
    edited(local, {"spec": {"replicas": 1}})
    assert owners(local) == [("kubectl-edit", None, True)]
    scaled(local, 2, "kubectl")
    assert owners(local) == [("kubectl", "scale", False)]
    edited(local, {"spec": {"replicas": 0}})  # the object has a zero, a Scale has none
    assert owners(local) == [("kubectl-edit", None, True)]
    scaled(local, 1, "kubectl")
    assert owners(local) == [("kubectl", "scale", False)]


@pytest.mark.parametrize(("kind", "annotated"), [("Deployment", 1), ("StatefulSet", 0)])
def test_a_new_spec_is_a_new_generation_and_so_are_annotations_of_a_deployment(local, kind, annotated):
    made = workload("other", kind=kind, replicas=1, command=["sleep", "1000"])
    del made["spec"]["template"]["spec"]["containers"][0]["ports"]
    local.call(local.cluster.apply, made)
    path = f"/apis/apps/v1/namespaces/ml/{kind.lower()}s/other"
    steps = [
        ("/scale", {"spec": {"replicas": 2}}, 1),
        ("/scale", {"spec": {"replicas": 2}}, 0),
        ("", {"metadata": {"annotations": {"k": "v"}}}, annotated),
        ("", {"metadata": {"labels": {"k": "v"}}}, 0),
        ("", {"spec": {"replicas": 1}}, 1),
        ("/scale", {"spec": {"replicas": 0}}, 1),
    ]
    generation = 1
    for sub, body, more in steps:
        assert local.request("PATCH", f"{path}{sub}", body, MERGE).status == 200
        generation += more
        assert local.get(path)["metadata"]["generation"] == generation, (sub, body)


W = "00000000-0000-0000-0000-000000000000"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("PATCH", f"{ENGINE}/scale", {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 0}}, "deployments"),
        ("PATCH", f"{ENGINE}/scale", {"metadata": {"uid": W}, "spec": {"replicas": 0}}, "deployments/scale"),
        ("PATCH", ENGINE, {"metadata": {"resourceVersion": "1"}}, "deployments"),
        ("DELETE", ENGINE, {"preconditions": {"uid": W}}, "Deployment"),
    ],
)  # fmt: skip
def test_a_conflict_names_the_resource_and_a_wrong_uid_another_word(local, method, path, body, kind):
    answer = local.request(method, path, body, MERGE if method == "PATCH" else None)
    assert (answer.status, answer.body["reason"], answer.body["details"]["kind"]) == (409, "Conflict", kind)


@pytest.mark.parametrize(
    ("method", "path", "meta", "about"),
    [
        ("POST", LEASES.format("gone"), {"name": "x"}, {"name": "gone", "kind": "namespaces"}),
        ("PUT", LEASES.format("gone") + "/x", {"name": "x"}, {"name": "gone", "kind": "namespaces"}),
        ("PUT", LEASES.format("ml") + "/x", {"name": "x"}, None),
    ],
)  # fmt: skip
def test_a_create_in_a_missing_namespace_is_refused_with_its_name(local, method, path, meta, about):
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}}
    answer = local.request(method, path, lease)
    if about is None:
        assert answer.status == 201
        return
    assert (answer.status, answer.body["reason"], answer.body["details"]) == (404, "NotFound", about)
    assert answer.body["message"] == 'namespaces "gone" not found'


def test_a_writer_that_names_no_manager_is_known_by_its_user_agent(local):
    local.request("PATCH", f"{ENGINE}/scale", {"spec": {"replicas": 1}}, MERGE)
    assert owners(local) == [("unknown", "scale", False)]


@pytest.mark.parametrize(("requested", "owner"), [(0, []), (1, [("brownout", "scale", False)])])
def test_admission_changes_the_object_after_its_owner_is_recorded(local, requested, owner):
    local.cluster.writes.admission = [admission.replicas("a-rule", lambda n: n + 3)]
    answer = scaled(local, requested, dry_run=True)
    assert (answer.status, answer.body["spec"]["replicas"]) == (200, requested + 3)
    assert local.get(ENGINE)["spec"]["replicas"] == 2
    assert scaled(local, requested).body["spec"]["replicas"] == requested + 3
    assert local.get(ENGINE)["spec"]["replicas"] == requested + 3
    assert owners(local) == owner


def test_a_webhook_with_side_effects_is_not_called_for_a_dry_run(local):
    local.cluster.writes.admission = [admission.replicas("a-rule", lambda n: n, side_effects=True)]
    answer = scaled(local, 1, dry_run=True)
    assert answer.status == 400
    assert answer.body["message"] == 'admission webhook "a-rule" does not support dry run'
    assert scaled(local, 1).status == 200


HOOK = 'admission webhook "a-rule" denied the request'
POLICY = "deployments.apps \"engine\" is forbidden: ValidatingAdmissionPolicy 'a-rule' with binding 'a-rule' denied request: not now"


@pytest.mark.parametrize(
    ("refusal", "code", "reason", "message"),
    [
        (lambda: admission.denied("a-rule"), 400, None, f"{HOOK} without explanation"),
        (lambda: admission.denied("a-rule", "not now"), 400, None, f"{HOOK}: not now"),
        (lambda: admission.denied("a-rule", "not now", 403), 403, None, f"{HOOK}: not now"),
        (lambda: admission.denied("a-rule", "", 404, "NotFound"), 404, "NotFound", f"{HOOK}: NotFound"),
        (lambda: admission.denied("a-rule", "no", 409, "Conflict"), 409, "Conflict", f"{HOOK}: no"),
        (lambda: admission.denied_by_policy("a-rule", "not now", 'deployments.apps "engine"'), 422, "Invalid", POLICY),
        (lambda: admission.denied_by_policy("a-rule", "not now", 'deployments.apps "engine"', 413), 413, "RequestEntityTooLarge", POLICY),
        (lambda: admission.denied_by_policy("a-rule", "not now", 'deployments.apps "engine"', 403), 403, "Forbidden", POLICY),
    ],
)  # fmt: skip
def test_a_scale_can_be_denied_with_and_without_a_dry_run(local, refusal, code, reason, message):
    def acts(_):
        raise refusal()

    local.cluster.writes.admission = [Admission("a-rule", "deployments/scale", acts)]
    for dry_run in (True, False):
        answer = scaled(local, 1, dry_run=dry_run)
        assert (answer.status, answer.body.get("reason"), answer.body["message"]) == (code, reason, message)
    assert local.get(ENGINE)["spec"]["replicas"] == 2


@pytest.mark.parametrize(("requested", "kept"), [(0, 0), (1, 2), (3, 3), (5, 4)])
def test_an_autoscaler_moves_replicas_into_its_bounds_and_does_not_change_zero(local, requested, kept):
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "engine"}
    spec = {"scaleTargetRef": ref, "minReplicas": 2, "maxReplicas": 4}
    kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    local.call(
        local.cluster.apply, {**kind, "metadata": {"name": "by-load", "namespace": "ml"}, "spec": spec}
    )
    path = "/apis/autoscaling/v2/namespaces/ml/horizontalpodautoscalers/by-load"
    until(lambda: local.get(path)["status"].get("currentReplicas") == 2, "it has looked")
    scaled(local, requested, "kubectl")
    # With one replica requested, the status is 2 before and after, so the spec must be checked first.
    until(lambda: local.get(ENGINE)["spec"]["replicas"] == kept, "its target is in its bounds")
    until(lambda: local.get(path)["status"].get("currentReplicas", 0) == kept, "it has looked again")
    assert local.get(ENGINE)["spec"]["replicas"] == kept
    manager = "kube-controller-manager" if kept != requested else "kubectl"
    assert [name for name, *_ in owners(local)] in (
        [manager],
        [] if requested == 0 else ["kubectl-client-side-apply"],
    )


def test_a_service_of_two_families_has_a_slice_of_each(local):
    made = service("engine", 8000)
    made["spec"]["ipFamilies"] = ["IPv4", "IPv6"]
    local.call(local.cluster.apply, made)
    slices = "/apis/discovery.k8s.io/v1/namespaces/ml/endpointslices"

    def both():
        found = local.get(slices)["items"]
        return [s for s in found if len(s["endpoints"] or ()) == 2] if len(found) == 2 else None

    found = until(both, "a slice for each, of both Pods")
    assert sorted(s["addressType"] for s in found) == ["IPv4", "IPv6"]
    four, six = ({e["targetRef"]["uid"] for e in s["endpoints"]} for s in found)
    assert four == six

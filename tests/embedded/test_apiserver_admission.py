"""Admission and the managers of fields, as a real API server has them."""

import pytest

from embedded.apiserver import admission
from embedded.apiserver.admission import Admission
from tests.embedded.recorded.stand import Stand, service, until, workload

ENGINE = "/apis/apps/v1/namespaces/ml/deployments/engine"
MERGE = "application/merge-patch+json"


@pytest.fixture
def stand():
    made = workload("engine", replicas=2, command=["sleep", "1000"])
    del made["spec"]["template"]["spec"]["containers"][0]["ports"]
    with Stand(made) as found:
        yield found


def scaled(stand, replicas, manager="brownout", dry_run=False):
    query = f"?fieldManager={manager}" + ("&dryRun=All" if dry_run else "")
    return stand.ask("PATCH", f"{ENGINE}/scale{query}", {"spec": {"replicas": replicas}}, MERGE)


def owners(stand):
    entries = stand.get(ENGINE)["metadata"]["managedFields"]
    return [(e["manager"], e.get("subresource"), "time" in e) for e in entries if "f:replicas" in e["fieldsV1"]["f:spec"]]  # fmt: skip


def test_whoever_changes_the_replicas_owns_them_and_a_zero_has_no_owner(stand):
    assert owners(stand) == [("kubectl-client-side-apply", None, True)]
    scaled(stand, 3)
    assert owners(stand) == [("brownout", "scale", False)]
    scaled(stand, 3, "kubectl")  # which changes nothing
    assert owners(stand) == [("brownout", "scale", False)]
    scaled(stand, 0)
    assert owners(stand) == []
    assert stand.get(ENGINE)["metadata"]["managedFields"] != []
    scaled(stand, 1, "kubectl")
    assert owners(stand) == [("kubectl", "scale", False)]
    stand.ask("PATCH", f"{ENGINE}?fieldManager=kubectl-edit", {"spec": {"replicas": 2}}, MERGE)
    assert owners(stand) == [("kubectl-edit", None, True)]


def test_a_writer_that_names_no_manager_is_known_by_its_user_agent(stand):
    stand.ask("PATCH", f"{ENGINE}/scale", {"spec": {"replicas": 1}}, MERGE)
    assert owners(stand) == [("unknown", "scale", False)]


@pytest.mark.parametrize(("asked", "owner"), [(0, []), (1, [("brownout", "scale", False)])])
def test_admission_changes_what_is_written_after_its_owner_was_noted(stand, asked, owner):
    stand.cluster.writes.admission = [admission.replicas("a-rule", lambda n: n + 3)]
    answer = scaled(stand, asked, dry_run=True)
    assert (answer.status, answer.body["spec"]["replicas"]) == (200, asked + 3)
    assert stand.get(ENGINE)["spec"]["replicas"] == 2
    assert scaled(stand, asked).body["spec"]["replicas"] == asked + 3
    assert stand.get(ENGINE)["spec"]["replicas"] == asked + 3
    assert owners(stand) == owner


def test_a_webhook_with_side_effects_is_not_called_for_a_dry_run(stand):
    stand.cluster.writes.admission = [admission.replicas("a-rule", lambda n: n, side_effects=True)]
    answer = scaled(stand, 1, dry_run=True)
    assert answer.status == 400
    assert answer.body["message"] == 'admission webhook "a-rule" does not support dry run'
    assert scaled(stand, 1).status == 200


@pytest.mark.parametrize("code", [403, 422])
def test_a_scale_may_be_denied_in_earnest_and_in_a_dry_run(stand, code):
    def acts(_):
        raise admission.denied("a-rule", "not now", code)

    stand.cluster.writes.admission = [Admission("a-rule", "deployments/scale", acts)]
    for dry_run in (True, False):
        assert scaled(stand, 1, dry_run=dry_run).status == code
    assert stand.get(ENGINE)["spec"]["replicas"] == 2


@pytest.mark.parametrize(("asked", "kept"), [(0, 0), (1, 2), (2, 2), (3, 3), (5, 4)])
def test_an_autoscaler_puts_what_is_outside_its_bounds_back_into_them_and_leaves_zero_alone(
    stand, asked, kept
):
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "engine"}
    spec = {"scaleTargetRef": ref, "minReplicas": 2, "maxReplicas": 4}
    kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    stand.call(
        stand.cluster.apply, {**kind, "metadata": {"name": "by-load", "namespace": "ml"}, "spec": spec}
    )
    path = "/apis/autoscaling/v2/namespaces/ml/horizontalpodautoscalers/by-load"
    until(lambda: stand.get(path)["status"].get("currentReplicas") == 2, "it has looked")
    scaled(stand, asked, "kubectl")
    until(lambda: stand.get(path)["status"].get("currentReplicas", 0) == kept, "it has looked again")
    assert stand.get(ENGINE)["spec"]["replicas"] == kept
    manager = "kube-controller-manager" if kept != asked else "kubectl"
    assert [name for name, *_ in owners(stand)] in (
        [manager],
        [] if asked == 0 else ["kubectl-client-side-apply"],
    )


def test_a_service_of_two_families_has_a_slice_of_each(stand):
    made = service("engine", 8000)
    made["spec"]["ipFamilies"] = ["IPv4", "IPv6"]
    stand.call(stand.cluster.apply, made)
    slices = "/apis/discovery.k8s.io/v1/namespaces/ml/endpointslices"

    def both():
        found = stand.get(slices)["items"]
        return [s for s in found if len(s["endpoints"] or ()) == 2] if len(found) == 2 else None

    found = until(both, "a slice for each, of both Pods")
    assert sorted(s["addressType"] for s in found) == ["IPv4", "IPv6"]
    four, six = ({e["targetRef"]["uid"] for e in s["endpoints"]} for s in found)
    assert four == six

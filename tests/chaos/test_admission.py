"""The result of a write is compared with the request: admission may change a write, or deny it."""

import time

import pytest
from kubernetes.client.exceptions import ApiException

from chaos import faults, inspection
from chaos.errors import Altered, CannotInject, NotYet
from chaos.faults.node_drain import OURS
from chaos.kube.cluster import API_ERRORS
from chaos.plan import Bound
from chaos.preflight import Ground
from chaos.target import Handle
from chaos.undo import lease, restorer
from chaos.undo.deputy import Deputy
from chaos.undo.journal import Journal, Undo
from contract.clock import Clock
from contract.timeline import Step
from embedded.apiserver import admission
from embedded.apiserver.admission import Admission
from embedded.apiserver.resources import NAMESPACES
from tests.chaos.small import Small, effective, in_an_hour, look, restored, sleepers
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until

ENGINE = Handle("deployment", "ml/engine")
NODE = Handle("node", "embedded")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Small(tmp_path_factory.mktemp("admission"), sleepers(replicas=3)) as made:
        yield made


@pytest.fixture
def small(cluster):
    cluster.up("engine")
    yield cluster
    rules(cluster)
    node = cluster.admin.node("embedded")
    if node["spec"].get("unschedulable"):
        until(
            lambda: cluster.admin.set_schedulable(cluster.admin.node("embedded"), True, {OURS: None}), "again"
        )
    for policy in cluster.admin.network_policies("ml"):
        cluster.admin.delete_network_policy("ml", policy["metadata"]["name"], policy["metadata"]["uid"])
    cluster.scale(3)


def rules(small: Small, *found: Admission) -> None:
    small.cluster.writes.admission = list(found)


def at_least_one(side_effects: bool = False) -> Admission:
    return admission.replicas("at-least-one", lambda n: max(n, 1), side_effects)


def at_most(most: int) -> Admission:
    return admission.replicas("at-most", lambda n: min(n, most))


def denying(code: int, reason: str | None = None, policy: bool = False) -> Admission:
    def acts(scale):
        if policy:
            raise admission.denied_by_policy("no-scale", "not on a Friday", 'deployments.apps "engine"', code)
        raise admission.denied("no-scale", "not on a Friday", code, reason)

    return Admission("no-scale", "deployments/scale", acts)


def fault(small: Small, name: str = "scale_to_zero", handle: Handle = ENGINE, **options):
    return faults.make(name, small.admin, on(handle), options)


def replicas(small: Small) -> int:
    return small.admin.workload("deployment", "ml", "engine")["spec"]["replicas"]


DENIES = "the cluster denies a scale of deployment ml/engine to 0: .*not on a Friday"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            at_least_one(),
            "the cluster changes a scale of deployment ml/engine to 0 into 1: its admission does so",
        ),
        (denying(400), DENIES),
        (denying(401), DENIES),
        (denying(403), DENIES),
        (denying(404, "NotFound"), DENIES),
        (denying(409, "Conflict"), DENIES),
        (denying(409, "AlreadyExists"), DENIES),
        (denying(429), DENIES),
        (denying(500), DENIES),
        (denying(403, policy=True), DENIES),
        (denying(413, policy=True), DENIES),
        (denying(422, policy=True), DENIES),
    ],
    ids=[
        "changed",
        *(
            f"denied by a webhook: {code}"
            for code in (400, 401, 403, 404, 409, "409, as one that exists", 429, 500)
        ),
        *(f"denied by a policy: {code}" for code in (403, 413, 422)),
    ],
)
def test_a_scale_that_admission_changes_or_denies_is_refused_before_it_is_made_and_a_plan_reports_it(
    small, rule, words
):
    rules(small, rule)
    version = small.admin.workload("deployment", "ml", "engine")["metadata"]["resourceVersion"]
    with pytest.raises(CannotInject, match=words):
        fault(small).snapshot()
    step = Step(name="gaming", at="1s", **{"for": "2s"}, fault="scale_to_zero", target="engine")
    planned = inspection.look([Bound(step, on(ENGINE))], Ground(small.admin, "uid", 1), time.time, 0.0)
    assert "current state:     cannot be injected: the cluster " in planned
    assert small.admin.workload("deployment", "ml", "engine")["metadata"]["resourceVersion"] == version


def test_where_a_dry_run_is_not_possible_it_continues_and_reports_the_result_as_unknown(small):
    rules(small, Admission("counts", "deployments/scale", lambda scale: scale, side_effects=True))
    one = fault(small)
    state = one.snapshot()
    (words,) = one.remarks(state)
    assert "so its result is unknown: API server: admission webhook" in words
    assert "does not support dry run" in words
    one.inject(state)
    effective(one, state)
    one.restore(state)
    assert restored(one, state)["ready"] == 3


def record(small: Small, name: str, handle: Handle, options: dict) -> Undo:
    """As another process reads it."""
    return small.undo(name, handle, options, in_an_hour())


def test_an_inject_that_was_changed_and_not_answered_is_known_by_its_next_try(small, monkeypatch):
    one = fault(small)
    state = one.snapshot()
    rules(small, at_least_one())
    really = small.admin.set_scale

    def lost(*args, **more):
        really(*args, **more)
        raise API_ERRORS[1]("the answer was lost")

    monkeypatch.setattr(small.admin, "set_scale", lost)
    with pytest.raises(API_ERRORS[1]):
        one.inject(state)
    with pytest.raises(CannotInject, match="0 replicas were requested, the cluster set 1"):
        one.inject(state)


def test_a_restore_that_admission_clamps_is_not_verified_and_tried_again(small):
    one = fault(small)
    state = one.snapshot()
    one.inject(state)
    rules(small, at_most(1))
    other = fault(small)
    for _ in range(2):
        with pytest.raises(Altered, match="3 replicas were requested, the cluster set 1"):
            other.restore(state)
    until(lambda: len(small.uids()) == 1, "it is short")
    with pytest.raises(NotYet, match="3 replicas were requested, the cluster set 1"):
        fault(small).restored(state)
    rules(small)
    other.restore(state)
    assert restored(other, state)["ready"] == 3


def test_a_restore_that_an_autoscaler_moves_afterwards_is_a_restore(small):
    one = fault(small)
    state = one.snapshot()
    one.inject(state)
    one.restore(state)
    small.scale(2)
    until(lambda: (one.restored(state) or {}).get("ready") == 2, "two are ready, and the third is gone")


def test_a_deputy_of_a_clamped_restore_reports_not_restored_and_then_ends_it(small, monkeypatch):
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.2)
    undo = record(small, "scale_to_zero", ENGINE, {})
    fault(small).inject(undo.state)
    rules(small, at_most(1))
    lines: list[str] = []
    deputy = Deputy(undo, "restore", Clock(), lines.append, cluster=small.admin)
    assert deputy.restore(0.5) is False
    assert "NOT restored" in lines[0]
    assert "the cluster set 1" in lines[0]
    rules(small)
    assert deputy.restore(20) is True
    assert replicas(small) == 3


def test_what_was_clamped_is_restored_by_the_next_restore_once_the_policy_is_gone(
    small, tmp_path, monkeypatch
):
    """The cluster does not show which writer has set the clamped number: the record does."""
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.2)
    undo = record(small, "scale_to_zero", ENGINE, {})
    journal, lines = Journal(tmp_path / "journal"), []
    journal.open(undo)
    fault(small).inject(undo.state)
    rules(small, at_most(1))
    assert not Deputy(undo, "restore", Clock(), lines.append, journal, small.admin).restore(0.5)
    rules(small)
    (left,) = journal.records()
    assert left.state["came"] == 1
    assert Deputy(left, "restore", Clock(), lines.append, journal, small.admin).restore(20)
    assert small.admin.workload("deployment", "ml", "engine")["spec"]["replicas"] == 3


def changed(on: str, **spec) -> Admission:
    """Removes all annotations, and sets these fields of the spec; None: removes the field."""

    def acts(obj):
        meta = {key: value for key, value in obj["metadata"].items() if key != "annotations"}
        made = {key: value for key, value in {**obj["spec"], **spec}.items() if value is not None}
        return {**obj, "metadata": meta, "spec": made}

    return Admission("changed", on, acts)


@pytest.mark.parametrize(
    ("name", "handle", "rule", "words"),
    [
        ("node_drain", NODE, changed("nodes"), "a node that is cordoned and without our token"),
        ("node_drain", NODE, changed("nodes", unschedulable=None), "a node that is not cordoned and without our token"),
        ("network_blackhole", ENGINE, changed("networkpolicies", ingress=[{}]), "differs from the request"),
        ("network_blackhole", ENGINE, changed("networkpolicies", podSelector={}), "differs from the request"),
    ],
    ids=["a cordon without its mark", "no cordon", "a policy that lets in", "a policy of all Pods"],
)  # fmt: skip
def test_a_cordon_and_a_policy_that_admission_changed_are_no_fault_and_are_taken_back(
    small, name, handle, rule, words
):
    one = fault(small, name, handle)
    state = one.snapshot()
    rules(small, rule)
    with pytest.raises(CannotInject, match=words):
        one.inject(state)
    rules(small)
    assert look(one, state) is None or name == "node_drain"
    other = fault(small, name, handle)
    other.restore(state)
    other.disarm(state)
    restored(other, state)
    node = small.admin.node("embedded")
    assert not node["spec"].get("unschedulable")
    assert OURS not in (node["metadata"].get("annotations") or {})
    assert small.admin.network_policies("ml") == []


def test_an_uncordon_that_admission_undoes_is_not_verified(small):
    one = fault(small, "node_drain", NODE)
    state = one.snapshot()
    one.inject(state)
    rules(small, Admission("stay", "nodes", lambda n: {**n, "spec": {**n["spec"], "unschedulable": True}}))
    with pytest.raises(Altered, match="was uncordoned, but the cluster returned a node that is cordoned"):
        one.restore(state)
    rules(small)
    one = fault(small, "node_drain", NODE)
    one.restore(state)
    restored(one, state)


def test_a_target_whose_namespace_was_deleted_is_left_alone_at_once_and_closed(tmp_path):
    """A Lease cannot be taken again there: the API server names the namespace."""
    with Small(tmp_path, sleepers(replicas=1)) as small:
        small.up("engine")
        undo = small.undo("scale_to_zero", ENGINE, {}, in_an_hour())
        one = fault(small)
        one.inject(undo.state)
        small.delete("/apis/apps/v1/namespaces/ml/deployments/engine")
        small.call(small.cluster.store.remove, NAMESPACES, "", "ml")
        with pytest.raises(ApiException, match='namespaces "ml" not found'):
            lease.take(small.admin, undo, 0.0)
        lines: list[str] = []
        assert Deputy(undo, "restore", Clock(), lines.append, cluster=small.admin).restore(20) is True
        assert "was deleted by someone else; there is nothing left to restore; left alone, closed" in lines[0]


def test_a_restore_whose_pods_are_denied_reports_why_and_continues(small):
    """As a registry that is not allowed, or a quota that is used up."""

    def deny(pod):
        name = f'pods "{pod["metadata"]["name"]}"'
        raise admission.denied_by_policy("images", "images of this registry are not allowed", name)

    one = fault(small)
    state = one.snapshot()
    one.inject(state)
    effective(one, state)
    rules(small, Admission("images", "pods", deny))
    one.restore(state)
    until(lambda: one.restored(state) is None and "not allowed" in one.missing, "it reports why")
    assert one.missing.startswith('0 of 3 Pods ready: pods "engine-')
    assert "denied request: images of this registry are not allowed" in one.missing
    rules(small)
    assert restored(one, state)["ready"] == 3
    conditions = small.admin.workload("deployment", "ml", "engine")["status"]["conditions"]
    assert "ReplicaFailure" not in {c["type"] for c in conditions}

"""node_drain: who is evicted, whose cordon is taken away, and what a disruption budget delays."""

import threading

import pytest
import urllib3

from chaos import lease
from chaos.fault import CannotInject, Foreign, NoOptions, NotYet
from chaos.faults import node_drain
from chaos.faults.node_drain import OURS, NodeDrain
from chaos.kube_answers import asked, refusal
from chaos.preflight import refused
from chaos.target import Handle
from embedded.apiserver.resources import NODES, PODS
from embedded.apiserver.rights import Rule
from tests.chaos.small import Small, effective, mended, sleepers
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until

NODE = Handle("node", "embedded")
PATH = "/api/v1/nodes/embedded"
BUDGETS = "/apis/policy/v1/namespaces/ml/poddisruptionbudgets"


@pytest.fixture
def small(tmp_path):
    with Small(tmp_path, sleepers(replicas=2)) as made:
        made.up("engine")
        yield made


def drain(small: Small, node: str = "embedded") -> NodeDrain:
    return NodeDrain(small.admin, on(Handle("node", node)), NoOptions())


def cordon(small: Small, cordoned: bool = True) -> None:
    # The taint that follows a cordon may be written in between.
    until(
        lambda: small.admin.set_schedulable(small.admin.node("embedded"), not cordoned, {}, "kubectl"),
        "it is written",
    )


def is_cordoned(small: Small) -> bool:
    return small.get(PATH)["spec"].get("unschedulable", False)


def budget(small: Small) -> None:
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "engine"}}}
    meta = {"name": "both", "namespace": "ml"}
    small.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec})


def changed(small: Small, resource, obj, **meta) -> None:
    """What a kubelet or another controller would have written."""
    small.call(small.cluster.store.put, resource, {**obj, "metadata": {**obj["metadata"], **meta}})


def test_the_node_is_cordoned_and_emptied_and_takes_pods_again(small):
    before = small.uids()
    fault = drain(small)
    state = fault.snapshot()
    assert state["set"] == {"schedulable": False, "evicted": 2}
    assert state["original"]["pods"] == [f"ml/{p['metadata']['name']}" for p in small.pods("engine")]
    fault.inject(state)
    assert is_cordoned(small)
    assert effective(fault, state) == {"schedulable": False, "pods": 0}
    until(lambda: len(small.uids()) == 2, "their owner has made others")
    assert not small.uids() & before
    assert not any("nodeName" in p["spec"] for p in small.pods("engine"))
    fault.mend(state)
    assert mended(fault, state) == {"schedulable": True, "ready": True}
    small.up("engine")
    assert OURS not in small.get(PATH)["metadata"].get("annotations", {})


def test_pods_that_find_another_node_stay_there(small):
    small.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "second"}})
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    effective(fault, state)
    small.up("engine")
    fault.mend(state)
    mended(fault, state)
    assert {p["spec"]["nodeName"] for p in small.pods("engine")} == {"second"}


@pytest.mark.parametrize(
    "meta",
    [
        {"annotations": {"kubernetes.io/config.mirror": "a-hash"}, "ownerReferences": []},
        {"ownerReferences": [{"kind": "DaemonSet", "name": "d", "uid": "1", "controller": True}]},
        {"labels": {"app.kubernetes.io/part-of": "brownout"}},
    ],
    ids=["a static Pod", "a DaemonSet's Pod", "a Pod of ours"],
)
def test_some_pods_stay(small, meta):
    one = small.pods("engine")[0]
    changed(small, PODS, one, **meta)
    fault = drain(small)
    state = fault.snapshot()
    assert f"ml/{one['metadata']['name']}" not in state["original"]["pods"]
    fault.inject(state)
    effective(fault, state)
    left = [p["metadata"]["name"] for p in small.admin.pods_on("embedded")]
    assert left == [one["metadata"]["name"]]


def test_a_pod_whom_nobody_would_make_again_is_not_evicted(small):
    one = small.pods("engine")[0]
    changed(small, PODS, one, ownerReferences=[])
    with pytest.raises(CannotInject, match="without a controller, whom nobody would make again: ml/engine-"):
        drain(small).snapshot()


def test_a_node_that_is_not_there_is_refused(small):
    with pytest.raises(CannotInject, match="there is no node third"):
        drain(small, "third").snapshot()


def test_a_node_that_is_cordoned_already_is_refused_and_left_so(small):
    cordon(small)
    with pytest.raises(CannotInject, match="node embedded is cordoned already"):
        drain(small).snapshot()
    assert is_cordoned(small)


def test_a_node_that_is_not_ready_is_refused(small):
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert small.ask("PATCH", f"{PATH}/status", unready, "application/merge-patch+json").status == 200
    with pytest.raises(CannotInject, match="is not ready: there is nothing to take away"):
        drain(small).snapshot()


def test_a_node_without_pods_is_refused(small):
    small.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "second"}})
    with pytest.raises(CannotInject, match="node second has no Pods that would be evicted"):
        drain(small, "second").snapshot()


def test_a_disruption_budget_delays_it_and_is_named(small):
    budget(small)
    before = small.uids()
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    with pytest.raises(
        NotYet, match=r"ml/engine-.*: Cannot evict pod as it would violate the pod's disruption budget"
    ):
        fault.effective(state)
    assert small.uids() == before
    small.delete(f"{BUDGETS}/both")
    effective(fault, state)


def test_what_a_budget_kept_is_mended_like_any_other(small):
    budget(small)
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    fault.mend(state)
    mended(fault, state)
    assert not is_cordoned(small)


def test_an_inject_whose_answer_was_lost_is_known_again(small):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    fault.inject(state)
    effective(fault, state)


def test_a_kubelet_that_writes_its_node_meanwhile_does_not_keep_the_cordon_away(small, monkeypatch):
    really, met = small.admin.set_schedulable, []

    def busy(node, schedulable, annotations):
        if len(met) < 2:
            found = small.get(PATH)
            changed(small, NODES, found, labels={**found["metadata"]["labels"], "beat": str(len(met))})
            met.append(node["metadata"]["resourceVersion"])
        return really(node, schedulable, annotations)

    monkeypatch.setattr(small.admin, "set_schedulable", busy)
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    effective(fault, state)
    met.clear()
    fault.mend(state)
    mended(fault, state)
    assert len(met) == 2


def test_someone_elses_cordon_is_neither_built_upon_nor_taken_away(small):
    fault = drain(small)
    state = fault.snapshot()
    cordon(small)
    before = small.uids()
    with pytest.raises(CannotInject, match="was cordoned by someone else since it was looked at"):
        fault.inject(state)
    with pytest.raises(Foreign, match="was cordoned by someone else and is left alone"):
        fault.mend(state)
    assert is_cordoned(small)
    assert small.uids() == before


def test_an_uncordon_by_someone_else_is_seen_and_the_mend_agrees_with_it(small, monkeypatch):
    monkeypatch.setattr(node_drain, "LOOK_S", 0.02)
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    seen = []
    watch = threading.Thread(target=lambda: seen.append(fault.moved(state, lambda: False)))
    watch.start()
    cordon(small, False)
    watch.join(10)
    assert seen == ["node embedded was uncordoned by someone else"]
    fault.mend(state)
    mended(fault, state)
    assert OURS not in small.get(PATH)["metadata"].get("annotations", {})


def test_our_own_uncordon_is_not_taken_for_anothers(small):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    over = threading.Event()
    really = small.admin.node

    def slow(name):
        over.set()  # the window ends while the watch asks
        fault.mend(state)
        return really(name)

    fault_seen = NodeDrain(small.seen_by("token-of-the-admin"), on(NODE), NoOptions())
    fault_seen._cluster.node = slow
    assert fault_seen.moved(state, over.is_set) is None


def test_a_node_that_was_re_created_is_left_alone(small):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    changed(small, NODES, small.get(PATH), uid="another", annotations={})
    with pytest.raises(Foreign, match="node embedded was re-created; the new one is left alone"):
        fault.mend(state)
    assert fault.moved(state, lambda: False) == "node embedded was re-created by someone else"
    assert is_cordoned(small)


def test_a_node_that_is_gone_is_not_waited_for(small):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    small.call(small.cluster.store.remove, NODES, "", "embedded")
    with pytest.raises(Foreign, match="was taken out of the cluster by someone else"):
        fault.mend(state)
    assert "taken out of the cluster" in fault.moved(state, lambda: False)


def test_a_mend_of_what_is_not_broken_does_nothing(small):
    fault = drain(small)
    state = fault.snapshot()
    version = small.get(PATH)["metadata"]["resourceVersion"]
    fault.mend(state)
    assert mended(fault, state)
    assert small.get(PATH)["metadata"]["resourceVersion"] == version


def test_every_pod_that_will_go_is_named_before(small):
    made = sleepers("store", replicas=1)
    made["spec"]["template"]["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    small.apply(made)
    small.up("store")
    evicted, emptied = drain(small).others()
    for name in ("engine", "store"):
        assert all(f"ml/{p['metadata']['name']}" in evicted for p in small.pods(name))
    assert (
        emptied == f"the loss of what lies in an emptyDir of ml/{small.pods('store')[0]['metadata']['name']}"
    )


def test_the_lease_of_a_node_lies_where_every_cluster_has_room_for_it():
    assert lease.namespace_of("node", "gpu-1") == "kube-node-lease"


def test_missing_rights_are_named(small):
    cluster = small.may("nobody", (Rule(("get",), ("",), ("nodes",)),))
    missing = refused(NodeDrain(cluster, on(NODE), NoOptions()), NODE, cluster)
    assert [m for m in missing if "leases" not in m] == [
        "patch nodes embedded",
        "list pods",
        "create pods/eviction",
    ]


def another_budget(small: Small, name: str, of: str) -> None:
    spec = {"minAvailable": 0, "selector": {"matchLabels": {"app": of}}}
    meta = {"name": name, "namespace": "ml"}
    small.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec})


def test_a_pod_with_two_budgets_keeps_no_other_pod_and_is_named(small):
    small.apply(sleepers("store", replicas=2))
    small.up("store")
    another_budget(small, "one", "engine")
    another_budget(small, "two", "engine")
    kept = small.uids()
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    until(lambda: all("nodeName" not in p["spec"] for p in small.pods("store")), "the others are evicted")
    with pytest.raises(NotYet) as seen:
        fault.effective(state)
    assert str(seen.value).count("This pod has more than one PodDisruptionBudget") == 2
    assert str(seen.value).count("ml/engine-") == 2
    assert small.uids() == kept
    small.delete(f"{BUDGETS}/two")
    effective(fault, state)


class Refusing:
    """Answers the evictions of the first Pod so, twice, and lets all others pass."""

    def __init__(self, small: Small, answer) -> None:
        self.really, self.answer = small.admin._wire.post, answer
        self.first, self.left = "", 2

    def __call__(self, path, body):
        assert path.endswith("/eviction")
        self.first = self.first or path
        if path != self.first or not self.left:
            return self.really(path, body)
        self.left -= 1
        return self.answer()


def raising(error: Exception):
    def raised():
        raise error

    return raised


def answered(status: int, body: str) -> Exception:
    """As the wire raises it."""
    return refusal(asked("POST", "/api/v1/namespaces/ml/pods/engine-1/eviction"), status, {}, body.encode())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (raising(answered(500, '{"kind": "Status", "message": "more than one"}')), "more than one"),
        (raising(answered(403, '{"kind": "Status", "message": "not yours"}')), "not yours"),
        (raising(answered(404, "404 page not found")), "404, not a Status"),
        (raising(urllib3.exceptions.ReadTimeoutError(None, "/", "too slow")), "ReadTimeoutError"),
    ],
    ids=["500", "403", "a page in between", "no answer in time"],
)
def test_an_eviction_that_fails_is_collected_and_the_others_are_made(small, monkeypatch, answer, words):
    fault = drain(small)
    state = fault.snapshot()
    monkeypatch.setattr(small.admin._wire, "post", Refusing(small, answer))
    fault.inject(state)
    with pytest.raises(NotYet, match=f"^ml/engine-[^;]*{words}[^;]*$"):
        fault.effective(state)
    effective(fault, state)


def test_a_drain_does_not_wait_for_an_eviction_of_each_pod_where_nothing_answers(small, monkeypatch):
    fault = drain(small)
    state = fault.snapshot()
    tried = []

    def away(*_, **__):
        tried.append(1)
        raise urllib3.exceptions.ConnectTimeoutError(None, "away")

    monkeypatch.setattr(small.admin._wire, "post", away)
    with pytest.raises(urllib3.exceptions.HTTPError):
        fault.effective(state)
    assert len(tried) == node_drain.UNANSWERED


@pytest.mark.parametrize("cordoned", [False, True], ids=["uncordoned", "uncordoned and cordoned again"])
def test_what_someone_else_has_uncordoned_loses_our_mark_and_nothing_else(small, cordoned):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    cordon(small, False)
    if cordoned:
        cordon(small)
    drain(small).disarm(state)  # as whoever gives the claim back does, where nothing is to be restored
    assert OURS not in small.get(PATH)["metadata"].get("annotations", {})
    assert is_cordoned(small) == cordoned


def test_a_mark_of_another_is_left_where_it_is(small):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    drain(small).disarm(state | {"token": "another"})
    assert small.get(PATH)["metadata"]["annotations"][OURS] == state["token"]

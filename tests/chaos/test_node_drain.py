"""node_drain: which Pods are evicted, and which cordon is removed."""

import threading

import pytest

from chaos.errors import CannotInject, Foreign
from chaos.fault import NoOptions
from chaos.faults import node_drain
from chaos.faults.node_drain import OURS, NodeDrain
from chaos.preflight import refused
from chaos.undo import lease
from embedded.apiserver.resources import NODES, PODS
from embedded.apiserver.rights import Rule
from tests.chaos.draining import NODE, PATH, changed, cordon, drain, is_cordoned, two_pods
from tests.chaos.small import effective, restored, sleepers
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until


@pytest.fixture
def small(tmp_path):
    with two_pods(tmp_path) as made:
        yield made


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
    fault.restore(state)
    assert restored(fault, state) == {"schedulable": True, "ready": True}
    small.up("engine")
    assert OURS not in small.get(PATH)["metadata"].get("annotations", {})


def test_pods_that_find_another_node_stay_there(small):
    small.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "second"}})
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    effective(fault, state)
    small.up("engine")
    fault.restore(state)
    restored(fault, state)
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


def test_a_pod_without_a_controller_is_not_evicted(small):
    one = small.pods("engine")[0]
    changed(small, PODS, one, ownerReferences=[])
    with pytest.raises(CannotInject, match="without a controller, which would not be recreated: ml/engine-"):
        drain(small).snapshot()


def test_a_node_that_is_not_there_is_refused(small):
    with pytest.raises(CannotInject, match="there is no node third"):
        drain(small, "third").snapshot()


def test_a_node_that_is_cordoned_already_is_refused_and_left_so(small):
    cordon(small)
    with pytest.raises(CannotInject, match="node embedded is already cordoned"):
        drain(small).snapshot()
    assert is_cordoned(small)


def test_a_node_that_is_not_ready_is_refused(small):
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert small.request("PATCH", f"{PATH}/status", unready, "application/merge-patch+json").status == 200
    with pytest.raises(CannotInject, match="is not ready: there is nothing to take away"):
        drain(small).snapshot()


def test_a_node_without_pods_is_refused(small):
    small.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "second"}})
    with pytest.raises(CannotInject, match="node second has no Pods that would be evicted"):
        drain(small, "second").snapshot()


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
    fault.restore(state)
    restored(fault, state)
    assert len(met) == 2


def test_someone_elses_cordon_is_neither_built_upon_nor_taken_away(small):
    fault = drain(small)
    state = fault.snapshot()
    cordon(small)
    before = small.uids()
    with pytest.raises(CannotInject, match="was cordoned by someone else after the snapshot"):
        fault.inject(state)
    with pytest.raises(Foreign, match="was cordoned by someone else and is left alone"):
        fault.restore(state)
    assert is_cordoned(small)
    assert small.uids() == before


def test_an_uncordon_by_someone_else_is_seen_and_the_restore_agrees_with_it(small, monkeypatch):
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
    fault.restore(state)
    restored(fault, state)
    assert OURS not in small.get(PATH)["metadata"].get("annotations", {})


def test_our_own_uncordon_is_not_taken_for_anothers(small):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    over = threading.Event()
    really = small.admin.node

    def slow(name):
        over.set()  # the window ends while the watch requests
        fault.restore(state)
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
        fault.restore(state)
    assert fault.moved(state, lambda: False) == "node embedded was re-created by someone else"
    assert is_cordoned(small)


def test_a_node_that_is_gone_is_not_waited_for(small):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    small.call(small.cluster.store.remove, NODES, "", "embedded")
    with pytest.raises(Foreign, match="was removed from the cluster by someone else"):
        fault.restore(state)
    assert "removed from the cluster" in fault.moved(state, lambda: False)


def test_a_restore_of_what_is_not_broken_does_nothing(small):
    fault = drain(small)
    state = fault.snapshot()
    version = small.get(PATH)["metadata"]["resourceVersion"]
    fault.restore(state)
    assert restored(fault, state)
    assert small.get(PATH)["metadata"]["resourceVersion"] == version


def test_every_pod_that_will_go_is_named_before(small):
    made = sleepers("store", replicas=1)
    made["spec"]["template"]["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    small.apply(made)
    small.up("store")
    evicted, emptied = drain(small).others()
    for name in ("engine", "store"):
        assert all(f"ml/{p['metadata']['name']}" in evicted for p in small.pods(name))
    assert emptied == f"the loss of the emptyDir data of ml/{small.pods('store')[0]['metadata']['name']}"


def test_the_lease_of_a_node_lies_where_every_cluster_has_room_for_it():
    assert lease.namespace_of("node", "gpu-1") == "kube-node-lease"


def test_missing_rights_are_named(small):
    cluster = small.may("nobody", (Rule(("get",), ("",), ("nodes",)),))
    missing = refused(NodeDrain(cluster, on(NODE), NoOptions()), NODE, cluster)
    assert [m for m in missing if "leases" not in m and "secrets" not in m] == [
        "patch nodes embedded",
        "list pods",
        "create pods/eviction",
    ]


@pytest.mark.parametrize("cordoned", [False, True], ids=["uncordoned", "uncordoned and cordoned again"])
def test_what_someone_else_has_uncordoned_loses_our_mark_and_nothing_else(small, cordoned):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    cordon(small, False)
    if cordoned:
        cordon(small)
    drain(small).disarm(state)  # as the release of the claim does where nothing is to be restored
    assert OURS not in small.get(PATH)["metadata"].get("annotations", {})
    assert is_cordoned(small) == cordoned


def test_a_mark_of_another_is_left_where_it_is(small):
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    drain(small).disarm(state | {"token": "another"})
    assert small.get(PATH)["metadata"]["annotations"][OURS] == state["token"]

"""The owner of a Pod: found by its owner references, also with truncated names and with other Pods of the same labels."""

import pytest

from chaos import faults
from chaos.errors import NotYet
from chaos.kube.workload import grace_s, owns
from chaos.target import Handle
from tests.chaos.small import Small, effective, engine, restored, sleepers
from tests.chaos.targets import on
from tests.embedded.recorded.stand import service, until

LONG = [
    "ms-inference-scheduling-llm-d-modelservice-decode",  # a name of llm-d
    "a" * 46,  # the longest name that is not truncated
    "a" * 47,
    "a-" * 29 + "b",  # a truncated Pod name that looks like another Deployment's
    "a" * 63,
    "a.b-" * 30 + "c",
]


def named(name: str, **more) -> list[dict]:
    """A workload of that name and its Service; labels have the short name, since they are limited to 63 characters."""
    made, served = engine(**more)
    made["metadata"]["name"] = name
    return [made, served]


@pytest.fixture(params=LONG, ids=lambda name: f"{len(name)} characters")
def long(tmp_path, request):
    with Small(tmp_path, *named(request.param)) as made:
        made.up(request.param)
        until(lambda: [e for e in made.admin.endpoints("ml") if e["ready"]], "it is served")
        made.handle = Handle("deployment", f"ml/{request.param}")
        made.named = request.param
        yield made


def test_the_server_cuts_the_names_of_pods_and_not_that_of_their_replica_set(long):
    (pod,) = long.pods("engine")
    (owner,) = pod["metadata"]["ownerReferences"]
    assert len(pod["metadata"]["name"]) <= 63
    assert pod["metadata"]["name"][:-5] == pod["metadata"]["generateName"][:58]
    assert pod["metadata"]["generateName"] == f"{owner['name']}-"
    found = long.get(f"/apis/apps/v1/namespaces/ml/replicasets/{owner['name']}")
    assert found["metadata"]["uid"] == owner["uid"]
    (above,) = found["metadata"]["ownerReferences"]
    assert (above["kind"], above["name"]) == ("Deployment", long.named)


def test_a_scale_to_zero_is_not_effective_while_its_pod_is_on_its_way_out(long):
    fault = faults.make("scale_to_zero", long.admin, on(long.handle), {})
    state = fault.snapshot()
    assert state["original"]["endpoints"] == 1
    with long.stopped():
        fault.inject(state)
        until(lambda: "deletionTimestamp" in long.pods("engine")[0]["metadata"], "its Pod terminates")
        with pytest.raises(NotYet, match="1 Pods remain, 1 of them terminating, which may take 30 s"):
            fault.effective(state)
    assert effective(fault, state) == {"pods": 0, "endpoints": 0}
    assert long.pods("engine") == []
    fault.restore(state)
    assert restored(fault, state) == {"ready": 1, "endpoints": 1}


@pytest.mark.parametrize("name", ["pod_kill", "network_blackhole"])
def test_the_other_faults_of_a_workload_find_its_pods(long, name):
    fault = faults.make(name, long.admin, on(long.handle), {})
    state = fault.snapshot()
    fault.inject(state)
    effective(fault, state)
    fault.restore(state)
    assert restored(fault, state) == {"ready": 1, "endpoints": 1}


def test_a_stateful_set_whose_name_leaves_no_room_for_a_label_gets_no_pods(tmp_path):
    made = sleepers(replicas=1, kind="StatefulSet")
    for name in ("s" * 52, "s" * 53):
        made["metadata"]["name"] = name
        with Small(tmp_path, made) as small:
            if len(name) == 52:
                small.up(name, "statefulsets")
                (pod,) = small.pods("engine")
                assert pod["metadata"]["name"] == f"{name}-0"
            else:
                path = f"/apis/apps/v1/namespaces/ml/statefulsets/{name}"
                until(lambda: small.get(path)["status"].get("observedGeneration"), "it was looked at")  # noqa: B023
                assert small.pods("engine") == []


@pytest.mark.parametrize("kind", ["deployment", "statefulset"])
def test_a_pod_behind_two_services_is_one_pod(tmp_path, kind):
    kinds = {"deployment": "Deployment", "statefulset": "StatefulSet"}
    made = sleepers(replicas=2, kind=kinds[kind])
    second = service("engine", 8000)
    second["metadata"]["name"] = "engine-headless"
    second["spec"]["ipFamilies"] = ["IPv4", "IPv6"]
    with Small(tmp_path, made, service("engine", 8000), second) as small:
        small.up("engine", f"{kind}s")
        until(
            lambda: len([e for e in small.admin.endpoints("ml") if e["ready"]]) == 6, "three slices list both"
        )
        fault = faults.make("scale_to", small.admin, on(Handle(kind, "ml/engine")), {"replicas": 1})
        state = fault.snapshot()
        assert state["original"]["endpoints"] == 2
        fault.inject(state)
        assert effective(fault, state) == {"pods": 1, "endpoints": 1}
        fault.restore(state)
        assert restored(fault, state)["ready"] == 2


def test_two_deployments_of_the_same_labels_do_not_answer_for_each_other(tmp_path):
    canary = sleepers(replicas=1)
    canary["metadata"]["name"] = "engine-canary"
    with Small(tmp_path, sleepers(replicas=1), canary) as small:
        for name in ("engine", "engine-canary"):
            small.up(name)
        fault = faults.make("scale_to_zero", small.admin, on(Handle("deployment", "ml/engine")), {})
        state = fault.snapshot()
        fault.inject(state)
        assert effective(fault, state) == {"pods": 0, "endpoints": 0}
        assert len(small.pods("engine")) == 1


def owned(kind: str, name: str, uid: str, **more) -> dict:
    reference = {"kind": kind, "name": name, "uid": uid, "controller": True} | more
    return {
        "metadata": {"uid": "a-uid", "labels": {"pod-template-hash": "abc"}, "ownerReferences": [reference]}
    }


def replica_set(uid: str, of: str) -> dict:
    found = owned("Deployment", "whatever", of)
    found["metadata"]["uid"] = uid
    return found


SETS = [replica_set("set-1", "ours"), replica_set("set-2", "another's")]


@pytest.mark.parametrize(
    ("what", "kind", "pod", "ours"),
    [
        ("its ReplicaSet's", "deployment", owned("ReplicaSet", "engine-abc", "set-1"), True),
        ("a ReplicaSet's that it adopted", "deployment", owned("ReplicaSet", "older-abc", "set-1"), True),
        ("another Deployment's", "deployment", owned("ReplicaSet", "engine-abc", "set-2"), False),
        ("of a dropped ReplicaSet of its", "deployment", owned("ReplicaSet", "engine-abc", "gone"), True),
        ("of a dropped one of another's", "deployment", owned("ReplicaSet", "engine-2-abc", "gone"), False),
        ("a Job's", "deployment", owned("Job", "engine-abc", "gone"), False),
        ("one without a controller", "deployment", owned("ReplicaSet", "engine-abc", "set-1", controller=False), False),
        ("one without an owner", "deployment", {"metadata": {"uid": "a-uid"}}, False),
        ("a StatefulSet's", "statefulset", owned("StatefulSet", "engine", "ours"), True),
        ("an earlier StatefulSet's of its name", "statefulset", owned("StatefulSet", "engine", "gone"), False),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)  # fmt: skip
def test_the_owner_of_a_pod_is_found_by_its_references(what, kind, pod, ours):
    assert owns(kind, "engine", "ours", pod, SETS) is ours


def pod_of(grace_s: int | None, deleted_with_s: int | None = None) -> dict:
    spec = {} if grace_s is None else {"terminationGracePeriodSeconds": grace_s}
    meta = (
        {}
        if deleted_with_s is None
        else {"deletionGracePeriodSeconds": deleted_with_s, "deletionTimestamp": "…"}
    )
    return {"metadata": meta, "spec": spec}


@pytest.mark.parametrize(
    ("pods", "seconds"),
    [
        ([], 0),
        ([pod_of(90)], 90),
        ([pod_of(30), pod_of(130)], 130),
        ([pod_of(None)], 30),
        ([pod_of(90, deleted_with_s=5)], 5),
        ([pod_of(5, deleted_with_s=90)], 90),
        ([pod_of(0)], 0),
    ],
)
def test_the_longest_that_pods_may_take_to_end_is_the_grace_that_holds_for_each(pods, seconds):
    assert grace_s(pods) == seconds


@pytest.mark.parametrize("name", ["scale_to_zero", "node_drain"])
def test_a_pod_that_uses_its_long_grace_is_waited_for_and_reported_as_terminating(tmp_path, name):
    with Small(tmp_path, *engine(grace_s=90)) as small:
        small.up("engine")
        handle = Handle("node", "embedded") if name == "node_drain" else Handle("deployment", "ml/engine")
        fault = faults.make(name, small.admin, on(handle), {})
        state = fault.snapshot()
        assert fault.takes_s(state) == 90
        with small.stopped():
            fault.inject(state)
            # Its owner has created another by then, which waits for a node.
            until(
                lambda: any("deletionTimestamp" in p["metadata"] for p in small.pods("engine")),
                "its Pod terminates",
            )
            with pytest.raises(NotYet, match="1 Pods remain, 1 of them terminating, which may take 90 s"):
                fault.effective(state)
        assert effective(fault, state)["pods"] == 0
        fault.restore(state)
        restored(fault, state)

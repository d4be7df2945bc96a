"""pod_kill: which Pods are killed, that no others are, and when it counts as restored."""

import pytest

from chaos.errors import CannotInject, Foreign
from chaos.faults.pod_kill import Options, PodKill
from chaos.preflight import refused
from chaos.target import Handle
from contract.refusal import Refusal
from contract.strict import validate
from embedded.apiserver.rights import Rule
from tests.chaos.round_thread import RoundThread
from tests.chaos.small import Small, effective, engine, restored, sleepers
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until

ENGINE = Handle("deployment", "ml/engine")
DEPLOYMENT = "/apis/apps/v1/namespaces/ml/deployments/engine"


@pytest.fixture
def small(tmp_path):
    with Small(tmp_path, *engine()) as made:
        made.up("engine")
        until(lambda: made.admin.endpoints("ml"), "it is served")
        yield made


@pytest.fixture
def three(tmp_path):
    with Small(tmp_path, sleepers(replicas=3)) as made:
        made.up("engine")
        yield made


def kill(small: Small, handle: Handle = ENGINE, **options) -> PodKill:
    return PodKill(small.admin, on(handle), Options.model_validate(options))


def test_the_pod_is_killed_and_its_owner_makes_another(small):
    before = small.uids()
    fault = kill(small)
    state = fault.snapshot()
    (name,) = state["original"]["pods"]
    assert (state["original"]["replicas"], state["original"]["endpoints"]) == (1, 1)
    assert state["set"] == {"killed": 1}
    fault.inject(state)
    assert effective(fault, state) == {"killed": [name]}
    fault.restore(state)
    assert restored(fault, state) == {"ready": 1, "endpoints": 1}
    assert not small.uids() & before


def test_a_stateful_set_gets_a_pod_of_the_same_name_back(tmp_path):
    with Small(tmp_path, sleepers("store", replicas=2, kind="StatefulSet")) as small:
        small.up("store", "statefulsets")
        fault = kill(small, Handle("statefulset", "ml/store"))
        state = fault.snapshot()
        fault.inject(state)
        effective(fault, state)
        assert restored(fault, state)["ready"] == 2
        assert {p["metadata"]["name"] for p in small.pods("store")} == {"store-0", "store-1"}
        assert state["victims"][0]["uid"] not in small.uids("store")


@pytest.mark.parametrize(
    ("options", "killed"),
    [({}, 1), ({"count": 2}, 2), ({"share": 0.5}, 2), ({"share": 0.01}, 1), ({"share": 1}, 3)],
    ids=str,
)
def test_so_many_of_three_pods_are_killed(three, options, killed):
    before = three.uids()
    fault = kill(three, **options)
    state = fault.snapshot()
    fault.inject(state)
    effective(fault, state)
    assert restored(fault, state)["ready"] == 3
    assert len(before - three.uids()) == killed


@pytest.mark.parametrize(("share", "pods", "count"), [(0.07, 100, 7), (0.1, 30, 3), (0.34, 3, 2)])
def test_a_share_is_rounded_up_and_not_by_what_a_float_adds(share, pods, count):
    assert Options(share=share).of(pods) == count


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"count": 1, "share": 0.5}, "give count or share, not both"),
        ({"count": 0}, "greater than or equal to 1"),
        ({"share": 1.5}, "less than or equal to 1"),
        ({"every": 5}, "5 is a bare number, not a duration; write 5s"),
        ({"counts": 2}, "no key 'counts'; did you mean 'count'?"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, words):
    with pytest.raises(Refusal, match=words.replace("?", r"\?")):
        validate(given, Options, "with")


def test_the_oldest_ready_pod_goes_first(three, monkeypatch):
    owners = three.pods("engine")[0]["metadata"]["ownerReferences"]

    def pod(name, born, ready="True", **more):
        meta = {
            "name": f"engine-1-{name}",
            "uid": name,
            "creationTimestamp": born,
            "ownerReferences": owners,
            **more,
        }
        return {"metadata": meta, "status": {"conditions": [{"type": "Ready", "status": ready}]}}

    found = [
        pod("young", "2026-01-01T00:00:03Z"),
        pod("unready", "2026-01-01T00:00:00Z", "False"),
        pod("going", "2026-01-01T00:00:00Z", deletionTimestamp="2026-01-01T00:00:09Z"),
        pod("old", "2026-01-01T00:00:01Z"),
    ]
    monkeypatch.setattr(three.admin, "pods", lambda namespace, selector: found)
    state = kill(three, count=3).snapshot()
    assert [v["uid"] for v in state["victims"]] == ["old", "young", "unready"]


@pytest.mark.parametrize(
    ("replicas", "options", "words"),
    [
        (0, {}, "has no live Pods: there is nothing to take away"),
        (3, {"count": 4}, "has 3 live Pods, but 4 should be killed"),
    ],
)
def test_a_target_that_has_not_as_many_is_refused(three, replicas, options, words):
    three.scale(replicas)
    until(lambda: len(three.uids()) == replicas, f"there are {replicas}")
    with pytest.raises(CannotInject, match=words):
        kill(three, **options).snapshot()


def test_a_target_that_is_not_there_is_refused(three):
    with pytest.raises(CannotInject, match="there is no deployment ml/other"):
        kill(three, Handle("deployment", "ml/other")).snapshot()


def test_a_try_that_is_repeated_kills_no_second_pod(three, monkeypatch):
    before = three.uids()
    fault = kill(three, count=2)
    state = fault.snapshot()
    really, answered = three.admin.delete_pod, []

    def lost(*args):
        done = really(*args)
        if not answered:
            answered.append(done)
            raise ValueError("the answer was lost")
        return done

    monkeypatch.setattr(three.admin, "delete_pod", lost)
    with pytest.raises(ValueError, match="lost"):
        fault.inject(state)
    fault.inject(state)
    effective(fault, state)
    restored(fault, state)
    assert before - three.uids() == {v["uid"] for v in state["victims"]}


def test_a_later_inject_chooses_anew(three):
    fault = kill(three, every="10s")
    assert fault.every_s == 10
    state = fault.snapshot()
    for _ in range(3):
        before = three.uids()
        fault.inject(state)
        effective(fault, state)
        restored(fault, state)
        assert len(until(lambda then=before: then - three.uids(), "one is gone")) == 1


def test_pods_that_went_meanwhile_are_not_replaced_by_others(three):
    fault = kill(three)
    state = fault.snapshot()
    faster = kill(three)
    faster.inject(state)
    effective(faster, state)
    restored(faster, state)
    before = three.uids()
    with pytest.raises(CannotInject, match="were gone before they could be killed"):
        fault.inject(state)
    assert three.uids() == before


def test_it_is_not_restored_while_a_lagging_status_still_counts_the_dead(small):
    fault = kill(small)
    state = fault.snapshot()
    small.lag(0.3)
    fault.inject(state)
    effective(fault, state)
    assert small.admin.workload("deployment", "ml", "engine")["status"]["readyReplicas"] == 1
    assert fault.restored(state) is None
    assert restored(fault, state) == {"ready": 1, "endpoints": 1}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("deleted", "was deleted by someone else"),
        ("re-created", "was re-created by someone else; the new one is left alone"),
        ("scaled to 0", "was scaled to 0 by someone else and is left alone"),
    ],
)
def test_what_someone_else_took_away_is_not_waited_for(three, how, words):
    fault = kill(three)
    state = fault.snapshot()
    fault.inject(state)
    if how == "scaled to 0":
        three.scale(0)
    else:
        three.delete(DEPLOYMENT)
    if how == "re-created":
        three.apply(sleepers(replicas=3))
    with pytest.raises(Foreign, match=words):
        fault.restore(state)


def test_a_scale_by_someone_else_counts_for_the_restore(three):
    fault = kill(three)
    state = fault.snapshot()
    fault.inject(state)
    three.scale(2)
    fault.restore(state)
    assert restored(fault, state)["ready"] == 2


def test_a_missing_right_is_named(three):
    cluster = three.may("nobody", (Rule(("get",), ("apps",), ("deployments",), (), "ml"),))
    missing = refused(PodKill(cluster, on(ENGINE), Options()), ENGINE, cluster)
    assert "delete pods in ml" in missing
    assert not [m for m in missing if m.startswith(("get deployments", "watch"))]


def test_a_round_kills_again_and_again_and_ends_restored(stand, tmp_path):
    text = """
hypothesis: it comes back
baseline: 0s
settle: 1s
max: 1m
steps: [{name: restart, at: 1500ms, for: 3s, fault: pod_kill, target: vllm, with: {every: 1s}}]
"""
    found = RoundThread(stand, tmp_path, text=text, hold=True)
    assert not found.end().not_restored
    assert found.stages.count("inject again") == 2
    assert found.stages[-2:] == ["restore commanded", "restore effective"]
    assert stand.ready() == 1
    assert stand.leases() == []

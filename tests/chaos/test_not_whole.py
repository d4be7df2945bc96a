"""A target that was not fully ready before a fault: the same number of ready Pods is enough, for every restorer."""

import json
import time
from dataclasses import replace

import pytest

from chaos import faults
from chaos.errors import CannotInject
from chaos.inspection import look
from chaos.kube.workload import Workload
from chaos.plan import bind
from chaos.preflight import Ground
from chaos.target import Handle
from chaos.undo import lease, reaper, restorer
from chaos.undo.journal import Journal
from chaos.undo.restore import restore
from contract import timeline, topology
from contract.clock import Clock
from tests.chaos.small import Small, effective, engine, restored, sleepers
from tests.chaos.stand import LONG
from tests.chaos.targets import on
from tests.chaos.test_reaper import Running
from tests.embedded.recorded.stand import until

KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet"}
DEPLOYMENT = Handle("deployment", "ml/engine")


def ready(small: Small, kind: str = "deployment") -> int:
    return small.admin.workload(kind, "ml", "engine")["status"].get("readyReplicas", 0)


@pytest.fixture(params=["deployment", pytest.param("statefulset", marks=pytest.mark.verify)])
def half(tmp_path, request):
    """Two replicas that need one port: one is ready, the other stays Pending while the first lives."""
    with Small(tmp_path, *engine(replicas=2, kind=KINDS[request.param])) as made:
        made.handle = Handle(request.param, "ml/engine")
        until(
            lambda: len(made.pods("engine")) == 2 and ready(made, request.param) == 1, "one of two is ready"
        )
        until(lambda: any(e["ready"] for e in made.admin.endpoints("ml")), "it is served")
        yield made


@pytest.mark.parametrize("name", ["scale_to_zero", "pod_kill", "network_blackhole"])
def test_it_counts_as_restored_when_as_many_are_ready_as_before(half, name):
    first = faults.make(name, half.admin, on(half.handle), {})
    state = json.loads(json.dumps(first.snapshot()))
    assert (state["original"]["replicas"], state["original"]["ready"]) == (2, 1)
    first.inject(state)
    effective(first, state)
    second = faults.make(name, half.admin, on(half.handle), {})
    second.restore(state)
    assert restored(second, state) == {"ready": 1, "endpoints": 1}


def abandoned(small: Small):
    """A fault of a dead run, past its deadline."""
    undo = small.undo("scale_to_zero", small.handle, {}, time.time() - 5)
    fault = faults.make(undo.fault, small.admin, on(small.handle), {})
    fault.inject(undo.state)
    effective(fault, undo.state)
    return undo


def test_the_reaper_goes_by_the_same_measure(half, monkeypatch):
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.05)
    monkeypatch.setattr(reaper, "EVERY_S", 0.02)
    undo = abandoned(half)
    assert lease.take(half.admin, undo, time.time())
    with Running(half.admin):
        until(lambda: lease.read(half.admin, undo) is None, "it is restored, and its Lease is gone")
    assert ready(half, half.handle.kind) == 1


def test_restore_goes_by_the_same_measure(half, monkeypatch, tmp_path):
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.05)
    journal = Journal(tmp_path / "journal")
    journal.open(replace(abandoned(half), kubeconfig=half.admin.kubeconfig))
    lines = []
    assert restore(journal, None, Clock(), 20, lines.append) == 0
    assert journal.records() == []
    assert ": restored (ready 1, endpoints 1), answered: unknown: no topology with this target" in lines[0]


@pytest.mark.parametrize("spoiled", ["absent", None, 0, -1, True, "1", 1.0, [1]])
def test_a_record_without_the_number_of_ready_pods_is_verified_by_all_of_them(tmp_path, spoiled):
    original = {"replicas": 2, "endpoints": 0} | ({} if spoiled == "absent" else {"ready": spoiled})
    with Small(tmp_path, *engine(replicas=2)) as small:
        until(lambda: ready(small) == 1, "one of two is ready")
        target = Workload(small.admin, DEPLOYMENT)
        assert target.back(original) is None
        assert until(lambda: target.back(original | {"ready": 1}), "with the number it is")["ready"] == 1
        small.scale(1)
        assert until(lambda: target.back(original), "all of them are ready")["ready"] == 1


@pytest.mark.parametrize(("before", "enough"), [(1, True), (3, False)])
def test_what_somebody_scaled_up_meanwhile_need_not_be_ready_beyond_what_was(tmp_path, before, enough):
    """An autoscaler that requests more Pods than fit."""
    with Small(tmp_path, *engine(replicas=3)) as small:
        until(lambda: ready(small) == 1, "one is ready")
        original = {"replicas": before, "ready": before, "endpoints": 0}
        assert (Workload(small.admin, DEPLOYMENT).back(original) is not None) is enough


@pytest.mark.parametrize("name", ["scale_to_zero", "pod_kill", "network_blackhole"])
def test_a_target_of_which_nothing_is_ready_is_refused(tmp_path, name):
    with Small(tmp_path, *engine(ready_s=1000)) as small:
        until(lambda: small.pods("engine"), "it has a Pod")
        with pytest.raises(
            CannotInject, match="deployment ml/engine has 0 of 1 Pods ready: there is nothing"
        ):
            faults.make(name, small.admin, on(DEPLOYMENT), {}).snapshot()


def test_a_rollout_that_is_in_progress_is_named(tmp_path, monkeypatch):
    with Small(tmp_path, sleepers(replicas=2)) as small:
        small.up("engine")
        fault = faults.make("scale_to_zero", small.admin, on(DEPLOYMENT), {})
        state = fault.snapshot()
        assert fault.remarks(state) == []
        found = small.admin.workload("deployment", "ml", "engine")
        found["status"]["updatedReplicas"] = 1
        monkeypatch.setattr(small.admin, "workload", lambda *which: found)
        (line,) = fault.remarks(state)
        assert line.startswith(
            "a rollout of deployment ml/engine is in progress: 1 of 2 Pods have its current template"
        )


def planned(small: Small, for_: str) -> str:
    """The plan of a step that takes the engine away."""
    uid, _ = small.admin.identity()
    stack = topology.read_text(
        f"cluster: {uid}\ngateway: {{url: 'http://127.0.0.1:1', model: tiny}}\ntiers:\n"
        "  - {name: vllm, match: {group: tiny}, url: 'http://127.0.0.1:1', model: tiny, handles: {deployment: ml/engine}}\n"
    )
    path = small.folder / "timeline.yaml"
    path.write_text(LONG.replace("for: 120s", f"for: {for_}"))
    ground = Ground(small.admin, uid, small.admin.embedded_pid)
    return look(bind(timeline.read(path), stack, "timeline.yaml"), ground, time.time, time.time() + 60)


def test_a_plan_reports_a_target_that_is_not_fully_ready(tmp_path):
    with Small(tmp_path, *engine(replicas=2)) as small:
        until(lambda: len(small.pods("engine")) == 2 and ready(small) == 1, "one of two is ready")
        told = planned(small, "120s")
        assert "current state:     replicas 2, ready 1, endpoints " in told
        assert (
            "note:              deployment ml/engine is not fully ready: 1 of 2 Pods ready; restored means 1 ready"
            in told
        )


@pytest.mark.parametrize(
    ("grace_s", "for_", "words"),
    [
        (90, "120s", "its Pods may take up to 1m30s to terminate\n"),
        (
            90, "60s",
            "its Pods may take up to 1m30s to terminate: the fault may not be effective before its step ends, after 1m\n",
        ),
        (
            172800, "2m",
            "its Pods may take up to 2d to terminate (the deadline allows 16m): the fault may not be effective",
        ),
    ],
)  # fmt: skip
def test_a_plan_shows_how_long_pods_may_take_to_terminate(tmp_path, grace_s, for_, words):
    with Small(tmp_path, *engine(grace_s=grace_s)) as small:
        small.up("engine")
        assert words in planned(small, for_)


@pytest.mark.parametrize(("replicas", "remarked"), [(0, False), (1, True), (3, False)])
def test_a_scale_that_takes_none_away_that_serves_is_named(tmp_path, replicas, remarked):
    with Small(tmp_path, *engine(replicas=2)) as small:
        until(lambda: len(small.pods("engine")) == 2 and ready(small) == 1, "one of two is ready")
        fault = faults.make("scale_to", small.admin, on(DEPLOYMENT), {"replicas": replicas})
        remarks = fault.remarks(fault.snapshot())
        assert any("removes no serving Pod" in line for line in remarks) is remarked

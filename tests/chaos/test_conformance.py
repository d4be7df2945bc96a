"""Rules for every fault of the catalogue: its record alone suffices for a restore, and it changes nothing of others.

A driver's own test file has what is particular to it.
"""

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from chaos import faults
from chaos.errors import Foreign
from chaos.fault import Fault
from chaos.undo.journal import Undo
from tests.chaos.commands import Target
from tests.chaos.elsewhere import restored
from tests.chaos.hosts import RealHost, RecordedHost, why_not_real
from tests.chaos.processes import Server
from tests.chaos.recorded.engine import FaultyEngine
from tests.chaos.small import effective, look
from tests.chaos.stand import until
from tests.chaos.targets import on
from tests.chaos.worlds import Command, Engine, OfFile, Process, Units, Workloads, World


@dataclass(frozen=True)
class Case:
    """A fault on a target. `left`: what `effective` reports, where it is always the same."""

    fault: str
    world: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    left: dict[str, Any] | None = None
    unit: str = "engine.service"

    def __str__(self) -> str:
        more = [f"{k} {v}" for k, v in self.options.items()]
        more += [self.unit] if self.kind == "unit" and self.unit != "engine.service" else []
        return " ".join(
            [self.fault, "of a", self.kind, *more, *(["for real"] if self.world == "real" else [])]
        )


NONE = {"pods": 0, "endpoints": 0}
UNIT_FAULTS = ("unit_stop", "unit_kill", "unit_freeze", "unit_restart")
UNITS = [
    Case(fault, world, "unit", unit=unit)
    for world in ("recorded", "real")
    for fault in UNIT_FAULTS
    for unit in ("engine.service", "again.service", "engine@1.service")
]
CASES = [
    *(
        Case(fault, "workloads", kind, options, left)
        for kind in ("deployment", "statefulset")
        for fault, options, left in [
            ("scale_to_zero", {}, NONE),
            ("scale_to", {"replicas": 0}, NONE),
            ("scale_to", {"replicas": 1}, {"pods": 1, "endpoints": 0}),
            ("scale_to", {"replicas": 4}, {"ready": 4}),
            ("pod_kill", {}, None),
        ]
    ),
    Case("network_blackhole", "workloads", "deployment"),
    Case("node_drain", "workloads", "node", left={"schedulable": False, "pods": 0}),
    Case("process_kill", "process", "process"),
    Case("process_freeze", "process", "process"),
    Case("engine", "engine", "engine", {"answer": "cut_after"}, {"fault": "cut_after"}),
    Case("command", "command", "command", left={"check": 1}),
    Case("noop", "of_file", "process", left={"is": "down"}),
    *UNITS,
]
marked = [pytest.param(c, marks=pytest.mark.verify if c.world == "real" else (), id=str(c)) for c in CASES]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Workloads(tmp_path_factory.mktemp("workloads")) as found:
        found.settle()
        yield found


@pytest.fixture
def workloads(cluster):
    yield cluster
    cluster.back()


@pytest.fixture
def recorded(tmp_path, monkeypatch, request):
    host = RecordedHost(tmp_path / "host")
    monkeypatch.setenv("PATH", f"{host.folder}{os.pathsep}{os.environ['PATH']}")
    host.answers_here(monkeypatch)
    return Units(host, request.node.callspec.params["case"].unit)


@pytest.fixture(scope="module")
def systemd(tmp_path_factory):
    why = why_not_real()
    if why:
        pytest.skip(f"no systemd of our own here: {why}")
    host = RealHost(tmp_path_factory.mktemp("real"))
    yield host
    host.close()


@pytest.fixture
def real(systemd, monkeypatch, request):
    monkeypatch.setenv("PATH", f"{systemd.folder}{os.pathsep}{os.environ['PATH']}")
    systemd.back()
    return Units(systemd, request.node.callspec.params["case"].unit)


@pytest.fixture
def process(tmp_path, state_home):
    server = Server(tmp_path)
    server.begin()
    yield Process(server)
    server.pid()
    server.end()


@pytest.fixture
def engine():
    found = FaultyEngine()
    yield Engine(found)
    found.close()


@pytest.fixture
def command(tmp_path, state_home):
    return Command(Target(tmp_path))


@pytest.fixture
def of_file(file):
    return OfFile(file)


@pytest.fixture
def world(case, request) -> World:
    return request.getfixturevalue(case.world)


class Made:
    """A fault on its target, and its record."""

    def __init__(self, case: Case, world: World) -> None:
        self.handle = world.handle(case.kind)
        self._case, self._world = case, world
        self.fault = self.fresh()
        self.undo = Undo(
            run="a-run", folder=None, step="a-step", trial=1, fault=case.fault, options=case.options, target="vllm",
            kind=self.handle.kind, handle=self.handle.name, given=self.handle.given, cluster=world.uid,
            kubeconfig=world.cluster and world.cluster.kubeconfig, embedded_pid=None, holder="elsewhere:1",
            deadline=time.time() + 600, state=self.fault.snapshot(),
        )  # fmt: skip
        self.state = Undo.of_json(self.undo.to_json()).state

    def fresh(self) -> Fault:
        """As by a process that has only the record."""
        return faults.make(self._case.fault, self._world.cluster, on(self.handle), self._case.options)

    def take_away(self) -> Any:
        self.fault.arm(self.state, 300)
        assert look(self.fault, self.state) is None
        self.fault.inject(self.state)
        return effective(self.fault, self.state)


@pytest.fixture
def made(case, world) -> Made:
    return Made(case, world)


@pytest.fixture(scope="module")
def elsewhere():
    """Another process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda record: pool.submit(restored, record, dict(os.environ)).result(120)


def test_every_fault_of_the_catalogue_is_tried(file):
    assert {case.fault for case in CASES} == set(faults.names())


@pytest.mark.parametrize("case", marked)
def test_it_goes_and_comes_back_by_another_process_and_twice_is_as_once(case, world, made, elsewhere):
    seen = made.take_away()
    assert seen
    assert case.left is None or seen == case.left
    assert elsewhere(made.undo.to_json()), "it was not restored by its record"
    world.settle()
    at = world.at()
    here = made.fresh()
    for _ in range(2):
        here.restore(made.state)
        until(lambda: here.restored(made.state), "it is restored")
        here.disarm(made.state)
    assert world.at() == at
    assert json.dumps(made.fresh().snapshot()), "it could be taken away again"


@pytest.mark.parametrize("case", marked)
def test_a_restore_of_what_is_not_broken_changes_nothing(case, world, made):
    at = world.at()
    for _ in range(2):
        made.fault.restore(made.state)
        until(lambda: made.fault.restored(made.state), "it is as it was")
    assert world.at() == at


@pytest.mark.parametrize("case", [m for m in marked if m.values[0].fault != "command"])
def test_what_somebody_else_makes_of_it_meanwhile_is_left_so(case, world, made):
    made.take_away()
    world.another(case.fault)
    world.settle()
    at = world.at()
    for fault in (made.fault, made.fresh()):
        try:
            fault.restore(made.state)
        except Foreign:
            pass  # some raise, and some find nothing left to do
    world.settle()
    assert world.at() == at
    made.fresh().disarm(made.state)

"""The dead-man of a cluster: it restores only faults past their deadline, from the Lease alone."""

import ast
import json
import re
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aiohttp import web

from chaos import faults, preflight
from chaos.errors import CannotInject
from chaos.kube.cluster import Cluster
from chaos.kube.names import LABEL
from chaos.target import Handle
from chaos.undo import lease, reaper, restorer
from chaos.undo.reaper import CLOCKS_AGREE_S, FRESH_S, HEARTBEAT, missing_heartbeat
from contract.handles.node import LOCKS
from embedded.apiserver.rights import Rule
from tests.chaos.reaping import Running, abandon, beat, leases, replicas
from tests.chaos.round_thread import RoundThread
from tests.chaos.small import Small, sleepers
from tests.chaos.stand import ROOT
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until

NAMES = ("engine", "other")
FUTURE = (
    "the heartbeat of the reaper of the namespace ml is {} s in the future: correct the clock of its node, or remove what "
    "someone else wrote: kubectl delete lease -n ml brownout-reaper"
)
HEARTBEATS = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/" + HEARTBEAT


class ApiFailure:
    """A middleware that answers 500 where `on` returns true."""

    def __init__(self) -> None:
        self.on = lambda request: False
        self.met: list[str] = []

    @web.middleware
    async def __call__(self, request, handler):
        if self.on(request):
            self.met.append(request.path)
            return web.Response(status=500)
        return await handler(request)


@pytest.fixture
def failure():
    return ApiFailure()


@pytest.fixture
def small(tmp_path, monkeypatch, failure):
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.05)
    monkeypatch.setattr(reaper, "EVERY_S", 0.1)
    manifests = [sleepers(name, replicas=1) for name in NAMES]
    with Small(tmp_path, *manifests, middlewares=[failure.__call__]) as made:
        for name in NAMES:
            made.up(name)
        yield made


def test_what_is_past_its_deadline_is_restored_and_nothing_else_is(small):
    abandon(small, "engine", late_s=5)
    abandon(small, "other", late_s=-3600)
    with Running(small.admin) as running:
        until(
            lambda: leases(small) == ["brownout-deployment-other"],
            "the late one is restored, and its Lease is gone",
        )
        assert (replicas(small, "engine"), replicas(small, "other")) == (1, 0)
        beaten = beat(small)
        until(lambda: beat(small) != beaten, "it has looked again")
        assert replicas(small, "other") == 0
        running.ahead_s = 3700
        until(lambda: leases(small) == [], "the other one is late now, and restored too")
        assert replicas(small, "other") == 1

        def restores() -> list[str]:
            return [line.split(":")[0] for line in running.lines if "no heartbeat" not in line]

        until(lambda: len(restores()) == 2, "it has logged both restores, once the Leases are gone")
        assert restores() == [
            f"scale_to_zero on ml/{name} (run a-run, step a-step, held by elsewhere" for name in NAMES
        ]


def test_its_heart_beats_in_every_namespace_that_it_serves(small):
    with Running(small.admin, ("ml", LOCKS)):
        for namespace in ("ml", LOCKS):
            first = until(lambda ns=namespace: beat(small, ns), f"a heartbeat in {namespace}")
            until(lambda ns=namespace, then=first: beat(small, ns) != then, f"and again in {namespace}")


def test_it_has_no_heartbeat_where_it_sees_nothing(small):
    rights = Rule(("*",), ("*",), ("*",), (), "ml")
    blind = Rule(("get", "create", "update"), ("coordination.k8s.io",), ("leases",), (), LOCKS)
    with Running(small.may("half-blind", (rights, blind)), (LOCKS, "ml")) as running:
        until(lambda: beat(small), "a heartbeat where it sees")
        until(lambda: len(running.lines) > 1, "it has looked again")
        assert beat(small, LOCKS) is None
        assert running.lines[0].startswith(
            "kube-node-lease: API server: leases.coordination.k8s.io is forbidden: "
        )


@pytest.mark.parametrize("ahead_s", [60, -60])
def test_it_has_no_heartbeat_while_its_clock_is_wrong(small, ahead_s):
    with Running(small.admin) as running:
        until(lambda: beat(small), "a heartbeat")
        running.ahead_s = ahead_s
        until(lambda: running.lines, "it has noticed")
        last = beat(small)
        until(lambda: len(running.lines) > 2, "it has looked again")
        assert beat(small) == last
        # The API server returns its clock in whole seconds.
        found_ = re.search(r"no heartbeat: this clock is ([+-]\d+) s off", running.lines[0])
        assert found_ is not None
        assert abs(int(found_[1]) - ahead_s) <= 1


def test_it_continues_after_api_errors(small, failure):
    abandon(small, "engine", late_s=5)
    failure.on = lambda request: True
    with Running(small.admin):
        until(lambda: len(failure.met) > 3, "it has met the failure")
        failure.on = lambda request: False
        until(lambda: leases(small) == [], "it has restored")
        assert replicas(small, "engine") == 1


def test_a_restore_that_cannot_be_done_delays_no_other_and_is_tried_again(small, failure, monkeypatch):
    monkeypatch.setattr(reaper, "RESTORE_WITHIN_S", 0.2)
    for name in NAMES:
        abandon(small, name, late_s=5)
    failure.on = lambda request: request.path.endswith("engine/scale")
    with Running(small.admin) as running:
        until(lambda: leases(small) == ["brownout-deployment-engine"], "the other one is restored")
        until(lambda: any("NOT restored" in line for line in running.lines), "it has given up for now")
        failure.on = lambda request: False
        until(lambda: leases(small) == [], "it has tried again")


def test_a_lease_that_cannot_be_read_is_left_alone_and_ends_nothing(small):
    abandon(small, "engine", late_s=5)
    key, _, value = LABEL.partition("=")
    texts = {"empty": None, "no-json": "{", "old": '{"run": "of another version"}'}
    for name, text in texts.items():
        meta = {
            "name": name,
            "labels": {key: value},
            "annotations": {"brownout.dev/undo": text} if text else {},
        }
        small.admin.create_lease(
            "ml", {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
        )
    with Running(small.admin) as running:
        until(lambda: leases(small) == sorted(texts), "the fault is restored, and the others are left")
        words = "the Lease empty carries no undo record; left alone"
        until(lambda: any(words in line for line in running.lines), "API server: why")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fault": "command", "kind": "command", "handle": "engine"}, "of another target: command engine"),
        ({"fault": "command"}, "names an unknown fault: command"),
        ({"fault": "../x"}, "names an unknown fault: ../x"),
        ({"handle": "ml/other"}, "of another target: deployment ml/other"),
        ({"handle": "kube-system/engine"}, "of another target: deployment kube-system/engine"),
        ({"fault": "node_drain", "kind": "node", "handle": "engine"}, "of another target: node engine"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_lease_gets_nothing_done_but_to_its_own_target(small, tmp_path, change, words):
    """A right to write Leases must not become a right to run commands in the reaper's Pod."""
    canary = tmp_path / "canary"
    given = {"inject": ["true"], "check": ["true"], "restore": ["touch", str(canary)]}
    now = time.time()
    undo = small.undo("scale_to_zero", Handle("deployment", "ml/engine"), {}, now - 5)
    assert lease.take(small.admin, undo, now)
    held = small.admin.lease("ml", "brownout-deployment-engine")
    stray = replace(undo, given=given, state={**undo.state, "group_file": str(tmp_path / "g")}, **change)
    held["metadata"]["annotations"]["brownout.dev/undo"] = json.dumps(
        {name: getattr(stray, name) for name in stray.__slots__}
    )
    assert small.admin.replace_lease(held)
    with Running(small.admin) as running:
        until(lambda: running.lines, "it has looked")
        assert words in running.lines[0]
        assert running.lines[0].endswith("left alone")
    assert leases(small) == ["brownout-deployment-engine"]
    assert not canary.exists()


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (None, "no reaper serves the namespace ml: kubectl apply -f deploy/reaper.yaml"),
        (1, None),
        (FRESH_S + 5, "the reaper of the namespace ml was last seen 35 s ago"),
        (1 - CLOCKS_AGREE_S, None),
        (-1 - CLOCKS_AGREE_S, FUTURE.format(6)),
        (-2_300_000_000, FUTURE.format(2_300_000_000)),
    ],
)
def test_a_heartbeat_that_is_stale_or_of_the_future_is_none(small, age_s, words):
    now = 1_800_000_000.25
    if age_s is not None:
        reaper._write_heartbeat(small.admin, "ml", now - age_s)
    assert missing_heartbeat(small.admin, "ml", now) == words


@pytest.mark.parametrize("time_", [None, "0000-01-01T00:00:00.000000Z"])
def test_a_heartbeat_without_a_time_that_a_clock_has_is_none(monkeypatch, time_):
    cluster = SimpleNamespace(lease=lambda namespace, name: {"spec": {"renewTime": time_}})
    assert "the reaper of the namespace ml was last seen" in missing_heartbeat(cluster, "ml", time.time())


def not_embedded(monkeypatch) -> None:
    """The cluster as if it were a real one: it does not end with our processes."""
    really = Cluster.identity

    def identity(self):
        uid, _ = really(self)
        self.embedded_pid = None
        return uid, False

    monkeypatch.setattr(Cluster, "identity", identity)


def test_on_a_real_cluster_nothing_is_injected_without_a_reaper(stand, tmp_path, monkeypatch):
    not_embedded(monkeypatch)
    found = RoundThread(stand, tmp_path)
    found.end()
    assert found.stages == ["inject fail"]
    assert "no reaper serves the namespace ml" in found.events[0].error
    assert "or pass --without-reaper" in found.events[0].error
    assert stand.replicas() == 1


@pytest.mark.parametrize(
    ("beaten_s_ago", "without_reaper", "refused"),
    [(None, False, True), (FRESH_S + 60, False, True), (1, False, False), (None, True, False)],
    ids=["no reaper", "a stale one", "a reaper", "without one, as requested"],
)
def test_a_real_cluster_wants_a_fresh_heartbeat_or_the_operators_word(
    small, tmp_path, monkeypatch, beaten_s_ago, without_reaper, refused
):
    not_embedded(monkeypatch)
    now = time.time()
    if beaten_s_ago is not None:
        reaper._write_heartbeat(small.admin, "ml", now - beaten_s_ago)
    ground = preflight.Ground(
        small.admin, small.admin.identity()[0], small.admin.embedded_pid, without_reaper
    )
    handle = Handle("deployment", "ml/engine")
    fault = faults.make("scale_to_zero", small.admin, on(handle), {})
    if refused:
        with pytest.raises(CannotInject, match="or pass --without-reaper"):
            preflight.check(fault, handle, False, ground, now + 60, now)
    else:
        preflight.check(fault, handle, False, ground, now + 60, now)


def test_the_image_holds_what_the_reaper_imports():
    command = re.search(
        r"pip install .* -c requirements\.txt ([\w ]+)$",
        (ROOT / "deploy/Dockerfile").read_text(),
        re.MULTILINE,
    )
    # The kubernetes client brings the first, pydantic the second.
    packages = set(command.group(1).split()) | {"urllib3", "typing_extensions"}
    modules = {"pyyaml": "yaml"}
    wanted = set()
    for wing in ("chaos", "contract"):
        for path in (ROOT / wing).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                wanted |= {n.split(".")[0] for n in names}
    wanted -= {*sys.stdlib_module_names, "chaos", "contract"}
    assert {modules.get(p, p) for p in packages} == wanted

"""The shipped rights (deploy/*.yaml): sufficient for the reaper and for a controller, and each one needed.

An account with only the operator's rights injects and restores each fault of a cluster. Then it injects again and abandons
the fault, and the reaper restores it with its own rights. The API requests of both are recorded: a right is
needed when a call that was made would be refused without it.
"""

import time
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from chaos import faults, preflight
from chaos.__main__ import _parser
from chaos.kube.cluster import Cluster
from chaos.kube.names import name_of
from chaos.target import Handle
from chaos.undo import lease, reaper, restore, restorer
from contract.handles.node import LOCKS
from embedded.apiserver.request_info import read
from embedded.apiserver.rights import Attributes, Identity, Rule, allowed, rules_of
from tests.chaos.small import Small, effective, engine, restored, sleepers
from tests.chaos.stand import ROOT
from tests.chaos.targets import on
from tests.chaos.test_reaper import Running
from tests.embedded.recorded.stand import until

REAPER, OPERATOR = ROOT / "deploy/reaper.yaml", ROOT / "deploy/operator-role.yaml"
CASES = {
    "scale_to_zero of a deployment": ("scale_to_zero", Handle("deployment", "ml/ollama")),
    "scale_to_zero of a statefulset": ("scale_to_zero", Handle("statefulset", "ml/ollama")),
    "pod_kill": ("pod_kill", Handle("deployment", "ml/ollama")),
    "network_blackhole": ("network_blackhole", Handle("deployment", "ml/vllm-server")),
    "node_drain": ("node_drain", Handle("node", "gpu-1")),
}
NAMESPACES = ("ml", LOCKS)
# Not checked before a run: each is used at another time; the value states what happens without it.
AT_ANOTHER_TIME = {
    "get namespaces": "the first request: without it a run does not begin",
    "update leases": "a record's deadline is moved by it; without it others join in at the deadline, which changes nothing",
    "list horizontalpodautoscalers": "without it a plan reports other controllers as unknown",
    "list scaledobjects": "the same",
}


@cache
def granted(path: Path) -> tuple[Rule, ...]:
    """The rights of the one account in a manifest, one verb and one resource per rule."""
    found = list(yaml.safe_load_all(path.read_text()))
    (account,) = [d["metadata"]["name"] for d in found if d["kind"] == "ServiceAccount"]
    roles = {
        (d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]): d for d in found if "rules" in d
    }
    rules: list[Rule] = []
    for binding in (d for d in found if "roleRef" in d):
        assert [s["name"] for s in binding["subjects"]] == [account]
        namespace, ref = binding["metadata"].get("namespace"), binding["roleRef"]
        role = roles.pop((ref["kind"], namespace, ref["name"]))
        rules += rules_of(role, namespace)
    assert not roles, f"{path.name}: bound to no account: {list(roles)}"
    return tuple(replace(r, verbs=(v,), resources=(s,)) for r in rules for s in r.resources for v in r.verbs)


def without(rules: tuple[Rule, ...], dropped: Rule) -> tuple[Rule, ...]:
    """The other rules; also without a rule for all namespaces that would cover the dropped one."""

    def covers(rule: Rule) -> bool:
        same = (rule.verbs, rule.resources) == (dropped.verbs, dropped.resources)
        return same and (rule == dropped or (rule.namespace is None and dropped.namespace is not None))

    return tuple(rule for rule in rules if not covers(rule))


def word(rule: Rule) -> str:
    return f"{rule.verbs[0]} {rule.resources[0]}"


def rule_text(rule: Rule) -> str:
    where = f" in {rule.namespace}" if rule.namespace else ""
    return word(rule) + where + ("" if not rule.resource_names else f" {rule.resource_names[0]}")


@dataclass
class Seen:
    """The API requests of each account, and the reaper's log of each fault."""

    requests: dict[str, set[Attributes]] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Any) -> Any:
        found = read(request.method, request.path, request.query)
        who = request.headers.get("Authorization", "").removeprefix("Bearer token-of-")
        if found is not None and found.resource != "selfsubjectaccessreviews":
            self.requests.setdefault(who, set()).add(found.attributes)
        return await handler(request)


def manifests() -> list[dict[str, Any]]:
    """The targets that the operator's Role names."""
    gpu = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-1"}}
    vllm, service = engine("vllm-server")
    vllm["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "gpu-1"}
    elsewhere = {"kubernetes.io/hostname": "embedded"}
    ollama, store = sleepers("ollama", replicas=1), sleepers("store", replicas=1, kind="StatefulSet")
    store["metadata"]["name"] = "ollama"
    for made in (ollama, store):
        made["spec"]["template"]["spec"]["nodeSelector"] = elsewhere
    return [gpu, vllm, service, ollama, store]


def up(small: Small) -> None:
    for name, kind in (("vllm-server", "deployments"), ("ollama", "deployments"), ("ollama", "statefulsets")):
        small.up(name, kind)


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restorer, "WATCH_ON_S", 0.05)
        patch.setattr(restorer, "RELEASE_WITHIN_S", 0.5)
        patch.setattr(
            reaper, "EVERY_S", 0.2
        )  # each look takes a dozen requests: a faster interval costs more than it saves
        yield patch


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, patched):
    seen = Seen()
    folder = tmp_path_factory.mktemp("rights")
    with Small(folder, *manifests(), middlewares=[seen.middleware], keda=True) as small:
        small.seen = seen
        up(small)
        yield small


@pytest.fixture(scope="module")
def done(cluster):
    """Every fault: injected and restored by the operator, injected again and abandoned, restored by the reaper."""
    operator = cluster.may("operator", granted(OPERATOR))
    keeper = cluster.may("reaper", granted(REAPER))
    for name, (fault, handle) in CASES.items():
        operate(cluster, operator, fault, handle)
        cluster.seen.lines[name] = reap(cluster, operator, keeper, fault, handle)
        up(cluster)
    list(restore.held(operator, NAMESPACES, print, time.time))
    return cluster.seen


def abandon(small: Small, operator: Cluster, name: str, handle: Handle) -> None:
    """A fault of a dead run, past its deadline."""
    undo = small.undo(name, handle, {}, time.time() - 5)
    assert lease.take(operator, undo, time.time())
    fault = faults.make(name, operator, on(handle), {})
    fault.inject(undo.state)
    effective(fault, undo.state)


def where(handle: Handle) -> tuple[str, str]:
    return lease.namespace_of(handle.kind, handle.name), name_of(handle.kind, handle.name)


def operate(small: Small, operator: Cluster, name: str, handle: Handle) -> None:
    """As the runner does it."""
    ground = preflight.Ground(operator, operator.identity()[0], operator.embedded_pid)
    fault, now = faults.make(name, operator, on(handle), {}), time.time()
    preflight.check(fault, handle, False, ground, now + 60, now)
    assert operator.lease(*where(handle)) is None
    state = fault.snapshot()
    fault.others()
    undo = replace(small.undo(name, handle, {}, now + 60), state=state)
    uid = lease.take(operator, undo, now)
    assert uid
    fault.inject(state)
    effective(fault, state)
    over = iter([False])
    fault.moved(state, lambda: next(over, True))
    fault.restore(state)
    lease.rewrite(operator, replace(undo, deadline=now + 900))
    restored(fault, state)
    lease.release(operator, undo, uid)


def reap(small: Small, operator: Cluster, keeper: Cluster, name: str, handle: Handle) -> list[str]:
    abandon(small, operator, name, handle)
    with Running(keeper, NAMESPACES) as running:
        until(
            lambda: small.admin.lease(*where(handle)) is None or len(running.lines) > 3,
            f"the reaper ends {name}",
        )
        return running.lines


@pytest.mark.parametrize("name", CASES)
def test_the_reaper_restores_with_the_rights_that_are_shipped(done, name):
    (line,) = done.lines[name]
    assert ": restored (" in line


@pytest.mark.parametrize("rule", granted(REAPER), ids=rule_text)
def test_the_reaper_needs_each_of_its_rights(done, rule):
    assert is_needed(done, "reaper", granted(REAPER), rule)


@pytest.mark.parametrize("rule", granted(OPERATOR), ids=rule_text)
def test_a_controller_needs_each_of_its_rights(done, rule):
    assert is_needed(done, "operator", granted(OPERATOR), rule)


def is_needed(seen: Seen, who: str, rules: tuple[Rule, ...], rule: Rule) -> bool:
    less = Identity(who, "", without(rules, rule))
    return any(not allowed(less, requests) for requests in seen.requests[who])


def test_no_request_needed_a_right_that_is_not_granted(done):
    for who, path in (("reaper", REAPER), ("operator", OPERATOR)):
        identity = Identity(who, "", granted(path))
        assert [a for a in done.requests[who] if not allowed(identity, a)] == []


@pytest.mark.parametrize(
    "dropped", ["patch deployments/scale", "get deployments", "get namespaces", "delete leases"]
)
def test_without_one_of_its_rights_the_reaper_leaves_the_fault_open_and_logs_it(
    cluster, done, patched, dropped
):
    patched.setattr(reaper, "RESTORE_WITHIN_S", 0.2)
    handle = Handle("deployment", "ml/ollama")
    operator = cluster.may("operator", granted(OPERATOR))
    less = tuple(r for r in granted(REAPER) if word(r) != dropped)
    abandon(cluster, operator, "scale_to_zero", handle)
    with Running(cluster.may("lesser-reaper", less)) as running:
        open_words = "could not be released" if dropped == "delete leases" else "NOT restored"
        until(lambda: any(open_words in line for line in running.lines), "it has given up for now")
    assert cluster.admin.lease(*where(handle)) is not None
    with Running(cluster.may("reaper", granted(REAPER))):
        until(lambda: cluster.admin.lease(*where(handle)) is None, "with all of them it restores")
    up(cluster)


def missing(cluster: Small, rules: tuple[Rule, ...]) -> list[str]:
    """The rights that the preflight of all the faults reports as missing, for an account with these rights."""
    seen = cluster.may("somebody", rules)
    return [
        line
        for name, handle in CASES.values()
        for line in preflight.refused(faults.make(name, seen, on(handle), {}), handle, seen)
    ]


def test_the_rights_of_a_controller_pass_the_preflight(cluster):
    assert missing(cluster, granted(OPERATOR)) == []


@pytest.mark.parametrize(
    "rule", [r for r in granted(OPERATOR) if word(r) not in AT_ANOTHER_TIME], ids=rule_text
)
def test_the_preflight_names_the_right_that_is_missing(cluster, rule):
    lines = missing(cluster, without(granted(OPERATOR), rule))
    assert lines
    assert all(line.startswith(word(rule)) for line in lines)


def test_what_the_preflight_does_not_look_for_is_granted():
    assert AT_ANOTHER_TIME.keys() <= {word(r) for r in granted(OPERATOR)}


def test_the_reapers_pod_is_started_as_the_command_line_wants_it():
    (made,) = [d for d in yaml.safe_load_all(REAPER.read_text()) if d["kind"] == "Deployment"]
    spec = made["spec"]["template"]["spec"]
    args = _parser().parse_args(spec["containers"][0]["args"])
    assert args.namespace == list(NAMESPACES)
    assert spec["serviceAccountName"] == "brownout-reaper"
    assert made["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "brownout"
    assert spec["terminationGracePeriodSeconds"] > reaper.RESTORE_WITHIN_S
    beaten = {r.namespace for r in granted(REAPER) if word(r) == "update leases"}
    assert beaten == set(NAMESPACES)


def test_the_reapers_deployment_has_no_field_that_a_cluster_does_not_know(cluster):
    (made,) = [d for d in yaml.safe_load_all(REAPER.read_text()) if d["kind"] == "Deployment"]
    made["spec"]["replicas"] = 0
    made["spec"]["template"]["spec"]["containers"][0]["command"] = ["true"]  # here a Pod is a process
    cluster.apply(made)
    made["spec"]["template"]["spec"]["tolerance"] = []
    with pytest.raises(Exception, match="tolerance"):
        cluster.apply(made)

"""The rights of deploy/openshift-role.yaml: sufficient to scale a KServe predictor to zero and back, and each one needed."""

import time
from dataclasses import replace

import pytest
import yaml

from chaos import faults, preflight
from chaos.kube import other_controllers
from chaos.kube.workload import Workload
from chaos.target import Handle
from chaos.undo import restore
from embedded.apiserver.rights import Identity, allowed
from tests.chaos.predictors import HANDLE, NAMESPACE, Predictors
from tests.chaos.stand import ROOT
from tests.chaos.targets import on
from tests.chaos.test_rights import Seen, granted, is_needed, operate, rule_text, without, word

ROLE, REAPER = ROOT / "deploy/openshift-role.yaml", ROOT / "deploy/reaper.yaml"
TARGET = Handle("deployment", HANDLE)
# Rights without which a plan works, and which it reports.
NOT_CHECKED_BEFORE = (
    "get namespaces", "update leases", "list horizontalpodautoscalers", "list scaledobjects", "get inferenceservices",
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    seen = Seen()
    with Predictors(tmp_path_factory.mktemp("openshift"), middlewares=[seen.middleware]) as small:
        small.seen = seen
        small.serve("external")
        yield small


@pytest.fixture(scope="module")
def done(cluster):
    """Scaled to zero and restored by an account with only these rights."""
    operator = cluster.may("operator", granted(ROLE))
    operate(cluster, operator, "scale_to_zero", TARGET)
    list(restore.held(operator, (NAMESPACE,), print, time.time))
    cluster.up_again()
    return cluster.seen


def test_a_predictor_is_scaled_away_and_back_with_the_rights_that_are_shipped(cluster, done):
    assert cluster.replicas() == 1
    identity = Identity("operator", "", granted(ROLE))
    assert [a for a in done.requests["operator"] if not allowed(identity, a)] == []


@pytest.mark.parametrize("rule", granted(ROLE), ids=rule_text)
def test_each_of_them_is_needed(done, rule):
    of_another_target = rule.resource_names == ("llama-fp8-predictor", "ollama")
    assert is_needed(done, "operator", granted(ROLE), rule) or of_another_target


@pytest.mark.parametrize(
    "rule", [r for r in granted(ROLE) if word(r) not in NOT_CHECKED_BEFORE], ids=rule_text
)
def test_the_preflight_names_the_one_that_is_missing(cluster, rule):
    seen = cluster.may("somebody", without(granted(ROLE), rule))
    lines = preflight.refused(faults.make("scale_to_zero", seen, on(TARGET), {}), TARGET, seen)
    assert lines
    assert all(line.startswith(word(rule)) for line in lines)


def test_without_the_right_to_read_the_inference_service_all_is_done_as_well(cluster, done):
    less = tuple(r for r in granted(ROLE) if word(r) != "get inferenceservices")
    operator = cluster.may("lesser", less)
    operate(cluster, operator, "scale_to_zero", TARGET)
    cluster.up_again()
    (line,) = other_controllers.of(operator, Workload(operator, TARGET), 0)
    assert "was not read: get inferenceservices is not granted" in line


def test_the_role_names_the_targets_of_the_topology():
    found = yaml.safe_load((ROOT / "topologies/openshift_kserve.yaml").read_text())
    handles = [t["handles"]["deployment"].split("/") for t in found["tiers"] if t["handles"]]
    scaled = next(r for r in granted(ROLE) if word(r) == "patch deployments/scale")
    assert [(scaled.namespace, name) for name in scaled.resource_names] == [tuple(h) for h in handles]


def test_the_reaper_restores_a_predictor_with_its_own_rights_in_that_project(cluster):
    """reaper.yaml, with ml replaced by the project."""
    rules = tuple(
        replace(r, namespace=NAMESPACE if r.namespace == "ml" else r.namespace) for r in granted(REAPER)
    )
    fault = faults.make("scale_to_zero", cluster.may("reaper", rules), on(TARGET), {})
    cluster.up_again()
    undo = cluster.undo("scale_to_zero", TARGET, {}, time.time() + 60)
    cluster.scaled(0)
    cluster.gone()
    fault.restore(undo.state)
    cluster.up_again()
    assert cluster.replicas() == 1


def test_openshifts_restricted_v2_takes_the_reapers_pod():
    """No user of its own (MustRunAsRange gives one), no capability, the runtime's seccomp profile, no escalation."""
    (made,) = [d for d in yaml.safe_load_all(REAPER.read_text()) if d["kind"] == "Deployment"]
    spec = made["spec"]["template"]["spec"]
    for context in (spec["securityContext"], *(c["securityContext"] for c in spec["containers"])):
        assert not {"runAsUser", "runAsGroup", "fsGroup", "privileged"} & set(context)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(spec)
    # Without a user in the Pod, runAsNonRoot requires a numeric user of the image.
    assert "\nUSER 65532:65532\n" in (ROOT / "deploy/Dockerfile").read_text()

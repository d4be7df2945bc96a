"""Nodes and the scheduler: a cordoned node gets no new Pods, keeps its Pods, and is drained by evictions."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from embedded.apiserver import certificate, kubeconfig
from embedded.apiserver.server import serve
from tests.embedded.recorded.stand import ADMIN, LocalCluster, until, workload
from tests.embedded.test_apiserver import JSON_PATCH, MERGE, ML, scale_to
from tests.embedded.test_apiserver_evictions import budget
from tests.embedded.test_apiserver_kinds import autoscaler
from tests.embedded.test_apiserver_policies import policy

NODE = "/api/v1/nodes/embedded"
STRATEGIC = "application/strategic-merge-patch+json"


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": labels}}


def cordon(local: LocalCluster, cordoned: bool = True, name: str = "embedded") -> None:
    """Returns when the resulting taint is set or removed."""
    path = f"/api/v1/nodes/{name}"
    answer = local.request("PATCH", path, {"spec": {"unschedulable": cordoned}}, STRATEGIC)
    assert answer.status == 200
    until(lambda: ("taints" in local.get(path)["spec"]) is cordoned, "the taint follows")


def waiting_pod(local: LocalCluster, name: str = "engine") -> dict[str, Any]:
    """The one Pod without a Node, once the scheduler has set its condition."""

    def output() -> Any:
        found = [p for p in local.pods(name) if "nodeName" not in p["spec"]]
        return found and found[0]["status"]["conditions"][0].get("reason") == "Unschedulable" and found[0]

    return dict(until(output, f"a Pod of {name} waits for a Node"))


def test_there_is_one_node_and_it_is_ready() -> None:
    with LocalCluster() as local:
        (found,) = client.CoreV1Api(local.client()).list_node().items
    assert found.metadata.name == "embedded"
    assert found.metadata.labels["kubernetes.io/hostname"] == "embedded"
    assert {c.type: c.status for c in found.status.conditions} == {"Ready": "True"}
    assert found.spec.unschedulable is None
    assert found.spec.taints is None


def test_a_pod_is_bound_to_a_node_and_found_by_it() -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        core = client.CoreV1Api(local.client())
        (pod,) = core.list_pod_for_all_namespaces(field_selector="spec.nodeName=embedded").items
        assert pod.metadata.labels["app"] == "engine"
        assert {c.type: c.status for c in pod.status.conditions}["PodScheduled"] == "True"


def test_a_cordoned_node_keeps_its_pods_and_gets_no_new_ones() -> None:
    with LocalCluster(workload("engine"), workload("other", replicas=0)) as local:
        local.up("engine")
        (before,) = local.pods("engine")
        cordon(local)
        scale_to(local, 1, "other")
        pod = waiting_pod(local, "other")
        assert pod["status"]["phase"] == "Pending"
        (condition,) = pod["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
        assert condition["message"] == "0/1 nodes are available: 1 node(s) were unschedulable."
        assert local.get(f"{ML}/deployments/other")["status"]["unavailableReplicas"] == 1
        assert local.pods("engine")[0]["metadata"]["uid"] == before["metadata"]["uid"]
        local.up("engine")
        cordon(local, False)
        local.up("other")
        assert local.pods("other")[0]["metadata"]["uid"] == pod["metadata"]["uid"]


def test_a_waiting_pod_can_be_scaled_away() -> None:
    with LocalCluster(workload("engine", replicas=0)) as local:
        cordon(local)
        scale_to(local, 1)
        waiting_pod(local)
        scale_to(local, 0)
        until(lambda: not local.pods("engine"), "it is gone")


def test_a_cordon_is_tainted_after_the_write_which_changes_the_version() -> None:
    """An uncordon with the version of the cordon is refused, as on a real cluster."""
    with LocalCluster() as local:
        core = client.CoreV1Api(local.client())
        local.lag(0.1)
        cordoned = core.patch_node("embedded", {"spec": {"unschedulable": True}})
        assert cordoned.spec.taints is None
        until(lambda: core.read_node("embedded").spec.taints, "the taint is there")
        (taint,) = core.read_node("embedded").spec.taints
        assert (taint.key, taint.effect) == ("node.kubernetes.io/unschedulable", "NoSchedule")
        back = {
            "metadata": {"resourceVersion": cordoned.metadata.resource_version},
            "spec": {"unschedulable": False},
        }
        refused = local.request("PATCH", NODE, back, MERGE)
        assert (refused.status, refused.body["reason"]) == (409, "Conflict")
        back["metadata"]["resourceVersion"] = core.read_node("embedded").metadata.resource_version
        answer = local.request("PATCH", NODE, back, MERGE)
        assert "unschedulable" not in answer.body["spec"]
        until(lambda: core.read_node("embedded").spec.taints is None, "the taint is gone")


@pytest.mark.parametrize(
    ("patch", "content_type", "code"),
    [
        ({"spec": {"unschedulable": True}}, MERGE, 200),
        ({"spec": {"unschedulable": True}}, STRATEGIC, 200),
        ([{"op": "add", "path": "/spec/unschedulable", "value": True}], JSON_PATCH, 200),
        ({"spec": {"unschedulable": "yes"}}, MERGE, 422),
        ({"metadata": {"resourceVersion": "1"}, "spec": {"unschedulable": True}}, STRATEGIC, 409),
    ],
)
def test_a_cordon_is_a_patch(patch: Any, content_type: str, code: int) -> None:
    with LocalCluster() as local:
        assert local.request("PATCH", NODE, patch, content_type).status == code
        assert local.get(NODE)["spec"].get("unschedulable", False) is (code == 200)
        listed = local.get("/api/v1/nodes?fieldSelector=spec.unschedulable%3Dtrue")
        assert len(listed["items"]) == (code == 200)


def test_a_misspelt_cordon_is_strictly_refused() -> None:
    with LocalCluster() as local:
        wrong = {"spec": {"unscheduleable": True}}
        assert local.request("PATCH", f"{NODE}?fieldValidation=Strict", wrong, MERGE).status == 422


def test_a_watch_of_nodes_sees_the_cordon() -> None:
    with LocalCluster() as local:
        version = local.get("/api/v1/nodes")["metadata"]["resourceVersion"]
        cordon(local)
        seen = local.request(
            "GET", f"/api/v1/nodes?watch=1&timeoutSeconds=0.1&resourceVersion={version}"
        ).body
        assert seen.count('"MODIFIED"') == 2  # the cordon, and its taint


def test_a_node_selector_chooses_the_node() -> None:
    wants_gpu = workload("engine")
    wants_gpu["spec"]["template"]["spec"]["nodeSelector"] = {"pool": "gpu"}
    with LocalCluster(wants_gpu) as local:
        message = waiting_pod(local)["status"]["conditions"][0]["message"]
        assert "1 node(s) didn't match Pod's node affinity/selector" in message
        local.call(local.cluster.apply, node("gpu-1", pool="gpu"))
        local.up("engine")
        assert local.pods("engine")[0]["spec"]["nodeName"] == "gpu-1"


def test_pods_spread_over_the_nodes_that_are_there() -> None:
    with LocalCluster(workload("one")) as local:
        local.up("one")
        local.call(local.cluster.apply, node("second"))
        local.call(local.cluster.apply, workload("two"))
        local.up("two")
        assert [local.pods(name)[0]["spec"]["nodeName"] for name in ("one", "two")] == ["embedded", "second"]


def test_a_tainted_or_unready_node_is_skipped_unless_tolerated() -> None:
    with LocalCluster(workload("engine", replicas=0)) as local:
        tainted = {"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}}
        assert local.request("PATCH", NODE, tainted, MERGE).status == 200
        scale_to(local, 1)
        waiting_pod(local)
        tolerant = workload("tolerant")
        tolerant["spec"]["template"]["spec"]["tolerations"] = [{"key": "gpu", "operator": "Exists"}]
        local.call(local.cluster.apply, tolerant)
        local.up("tolerant")
        unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        assert local.request("PATCH", f"{NODE}/status", unready, MERGE).status == 200
        assert local.request("PATCH", NODE, {"spec": {"taints": None}}, MERGE).status == 200
        waiting_pod(local)
        unready["status"]["conditions"][0]["status"] = "True"
        local.request("PATCH", f"{NODE}/status", unready, MERGE)
        local.up("engine")


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl on the PATH")
def test_kubectl_drains_and_uncordons(tmp_path: Path) -> None:
    made = certificate.make(tmp_path)
    if made is None:
        pytest.skip("no openssl: kubectl sends its token over TLS only")
    with LocalCluster(workload("engine"), workload("store", kind="StatefulSet")) as local:
        local.up("engine")
        local.up("store", "statefulsets")
        before = {p["metadata"]["uid"] for name in ("engine", "store") for p in local.pods(name)}
        runner, port = local.run(serve(local.cluster, certificate=made))
        config = tmp_path / "kubeconfig"
        kubeconfig.write(config, f"https://127.0.0.1:{port}", ADMIN, "ml", made.certificate)

        def kubectl(*arguments: str) -> str:
            command = ["kubectl", f"--kubeconfig={config}", f"--cache-dir={tmp_path}", *arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"]}
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert kubectl("get", "nodes").split()[:7] == [
            *("NAME", "STATUS", "ROLES", "AGE", "VERSION"),
            *("embedded", "Ready"),
        ]
        output = kubectl("drain", "embedded", "--timeout=30s")
        assert "node/embedded cordoned" in output
        assert "node/embedded drained" in output
        assert "Ready,SchedulingDisabled" in kubectl("get", "nodes", "-o", "wide")
        after = [waiting_pod(local, name) for name in ("engine", "store")]
        assert not before & {p["metadata"]["uid"] for p in after}
        assert kubectl("uncordon", "embedded") == "node/embedded uncordoned\n"
        local.up("engine")
        local.up("store", "statefulsets")
        shown = kubectl("api-resources", "--no-headers")
        for kind in ("Node", "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler"):
            assert kind in shown
        for made in (policy(), budget(minAvailable=0), autoscaler()):
            made["metadata"]["namespace"] = "ml"
            local.call(local.cluster.apply, made)
        shown = kubectl("get", "netpol,pdb,hpa")
        assert "Deployment/engine" in shown
        assert "MIN AVAILABLE" in shown
        assert "POD-SELECTOR" in shown
        local.run(runner.cleanup())

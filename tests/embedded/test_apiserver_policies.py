"""NetworkPolicies: a Pod that is cut off stays Ready and accepts connections, but answers only once the policy is gone."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.embedded.recorded.stand import LocalCluster, until, workload
from tests.embedded.test_apiserver import MERGE, ML, alive, gone, scale_to
from tests.embedded.test_apiserver_pods import pid_of, restarts

POLICIES = "/apis/networking.k8s.io/v1/namespaces/ml/networkpolicies"
DENY: dict[str, Any] = {"policyTypes": ["Ingress"]}


def policy(name: str = "cut", selector: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "podSelector": {"matchLabels": {"app": "engine"}} if selector is None else selector,
            **spec,
        },
    }


@pytest.fixture
def local() -> Iterator[LocalCluster]:
    with LocalCluster(workload("engine")) as made:
        made.up("engine")
        yield made


def put_up(local: LocalCluster, made: dict[str, Any]) -> None:
    assert local.request("POST", POLICIES, made).status == 201


def take_down(local: LocalCluster, name: str = "cut") -> None:
    assert local.request("DELETE", f"{POLICIES}/{name}").status == 200


def is_frozen(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def freezes(pid: int) -> None:
    """Waits until the signal has arrived: the kernel delivers it asynchronously."""
    until(lambda: is_frozen(pid), "it is frozen")


def thaws(pid: int) -> None:
    until(lambda: not is_frozen(pid), "it runs again")


def send_to_pod(local: LocalCluster) -> socket.socket:
    """A connection with a request on it; the Pod's port is an argument of its command."""
    port = local.pods("engine")[0]["spec"]["containers"][0]["ports"][0]["containerPort"]
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    return connection


def test_a_cut_off_pod_accepts_but_answers_only_after_the_policy_is_deleted(local: LocalCluster) -> None:
    put_up(local, policy(**DENY, ingress=[]))
    freezes(pid_of(local))
    with send_to_pod(local) as connection:
        assert select.select([connection], [], [], 0.3)[0] == []
        take_down(local)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert restarts(local) == 0


def test_a_cut_off_pod_stays_ready() -> None:
    """A probe takes one second to fail, and one may fail; policies let probes pass, so a frozen Pod is not probed."""
    strict = workload("engine")
    strict["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["failureThreshold"] = 1
    with LocalCluster(strict) as local:
        local.up("engine")
        version = local.get("/api/v1/namespaces/ml/pods")["metadata"]["resourceVersion"]
        put_up(local, policy(**DENY))
        freezes(pid_of(local))
        watch = f"/api/v1/namespaces/ml/pods?watch=1&resourceVersion={version}"
        assert local.request("GET", f"{watch}&timeoutSeconds=1.5").body == ""
        assert local.get(f"{ML}/deployments/engine")["status"]["readyReplicas"] == 1
        take_down(local)
        thaws(pid_of(local))
        assert local.request("GET", f"{watch}&timeoutSeconds=0.3").body == ""


def test_a_pod_is_probed_again_after_the_policy_is_deleted(local: LocalCluster) -> None:
    pid = pid_of(local)
    put_up(local, policy(**DENY))
    freezes(pid)
    take_down(local)
    thaws(pid)
    os.kill(pid, signal.SIGSTOP)
    path = f"{ML}/deployments/engine"
    until(lambda: "readyReplicas" not in local.get(path)["status"], "it is not ready")
    os.kill(pid, signal.SIGCONT)
    local.up("engine")


@pytest.mark.parametrize(
    ("made", "cut_off"),
    [
        (policy(), True),  # no policyTypes: Ingress
        (policy(ingress=None), True),
        (policy(selector={}, **DENY), True),  # selects every Pod
        (policy(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}, **DENY), True),
        (policy(policyTypes=["Ingress", "Egress"], egress=[{}]), True),
        (policy(ingress=[{}]), False),
        (policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}]), False),
        (policy(policyTypes=["Egress"]), False),
        (policy(selector={"matchLabels": {"app": "another"}}, **DENY), False),
        (policy(selector={"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, **DENY), False),
    ],
)
def test_a_policy_cuts_off_the_pods_that_it_selects(
    local: LocalCluster, made: dict[str, Any], cut_off: bool
) -> None:
    put_up(local, made)
    if cut_off:
        freezes(pid_of(local))
    else:
        with send_to_pod(local) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert not is_frozen(pid_of(local))


def test_policies_are_additive_so_one_that_allows_wins(local: LocalCluster) -> None:
    pid = pid_of(local)
    put_up(local, policy(**DENY))
    freezes(pid)
    put_up(local, policy("let-in", ingress=[{}]))
    thaws(pid)
    take_down(local, "let-in")
    freezes(pid)
    local.request("PATCH", f"{POLICIES}/cut", {"spec": {"ingress": [{}]}}, MERGE)
    thaws(pid)


def test_a_policy_of_another_namespace_has_no_effect(local: LocalCluster) -> None:
    path = POLICIES.replace("/ml/", "/default/")
    assert local.request("POST", path, policy(selector={}, **DENY)).status == 201
    with send_to_pod(local) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_the_whole_group_is_frozen(tmp_path: Path) -> None:
    command = ["bash", "-c", "sleep 1000 & echo child $!; wait"]
    with LocalCluster(workload("engine", command=command), log_dir=tmp_path) as local:
        local.up("engine")
        (log,) = tmp_path.glob("*.log")
        child = int(until(log.read_text, "it wrote a log").split()[1])
        put_up(local, policy(**DENY))
        freezes(pid_of(local))
        freezes(child)


@pytest.mark.parametrize("grace", ["", "?gracePeriodSeconds=0"])
def test_a_cut_off_pod_can_be_deleted(local: LocalCluster, grace: str) -> None:
    """With a grace period of 30 s, the default, it handles SIGTERM although it was frozen."""
    (pod,) = local.pods("engine")
    pid = pid_of(local)
    put_up(local, policy(**DENY))
    freezes(pid)
    local.request("DELETE", f"/api/v1/namespaces/ml/pods/{pod['metadata']['name']}{grace}")
    until(lambda: not alive(pid), "it is gone")
    until(
        lambda: pod["metadata"]["uid"] not in [p["metadata"]["uid"] for p in local.pods("engine")], "it left"
    )


def test_a_frozen_process_that_ignores_sigterm_is_killed() -> None:
    command = ["bash", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    with LocalCluster(workload("engine", command=command, grace_s=1)) as local:
        local.up("engine")
        pid = pid_of(local)
        put_up(local, policy(**DENY))
        freezes(pid)
        scale_to(local, 0)
        gone(local)
        assert not alive(pid)


def test_a_pod_that_starts_while_cut_off_becomes_ready_and_is_cut_off() -> None:
    with LocalCluster(workload("engine", replicas=0)) as local:
        put_up(local, policy(**DENY))
        scale_to(local, 1)
        local.up("engine")
        pid = pid_of(local)
        freezes(pid)
        assert local.get(f"{ML}/deployments/engine")["status"]["readyReplicas"] == 1
        os.kill(pid, signal.SIGKILL)  # and so does the process that follows it
        until(lambda: running_again(local, pid), "another one runs")
        local.up("engine")
        freezes(pid_of(local))


def running_again(local: LocalCluster, before: int) -> bool:
    return restarts(local) == 1 and pid_of(local) != before


def test_a_closing_cluster_ends_frozen_pods(local: LocalCluster) -> None:
    pid = pid_of(local)
    put_up(local, policy(**DENY))
    freezes(pid)
    local.run(local.cluster.close())
    assert not alive(pid)


@pytest.mark.parametrize(
    "spec",
    [
        {"policyTypes": ["Sideways"]},
        {"selector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}},
        {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
    ],
)
def test_an_invalid_policy_is_refused(local: LocalCluster, spec: dict[str, Any]) -> None:
    assert local.request("POST", POLICIES, policy(**spec)).status == 422


def test_the_official_client_writes_reads_and_deletes_one(local: LocalCluster) -> None:
    networking = client.NetworkingV1Api(local.client())
    made = networking.create_namespaced_network_policy("ml", policy(**DENY))
    assert made.spec.ingress is None
    assert made.metadata.generation == 1
    replaced = policy(ingress=[{}])
    replaced["metadata"]["resourceVersion"] = made.metadata.resource_version
    assert networking.replace_namespaced_network_policy("cut", "ml", replaced).metadata.generation == 2
    assert [p.metadata.name for p in networking.list_network_policy_for_all_namespaces().items] == ["cut"]
    assert networking.delete_namespaced_network_policy("cut", "ml")["status"] == "Success"

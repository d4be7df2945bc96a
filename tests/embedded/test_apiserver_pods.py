"""Pods are processes: they start and end as Pods do, and none outlives its cluster."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from embedded.apiserver import certificate, kubeconfig
from embedded.apiserver.server import serve
from tests.embedded.recorded.stand import ADMIN, LocalCluster, until, workload
from tests.embedded.test_apiserver import MERGE, ML, alive, gone, scale_to
from tests.ports import held_port

ROOT = Path(__file__).parents[2]

# Logs SIGTERM and keeps running; its child is in the same group.
STUBBORN = "trap 'echo heard TERM' TERM; sleep 1000 & echo child $!; while :; do sleep 0.1; done"


def pid_of(local: LocalCluster, name: str = "engine") -> int:
    return int(until(lambda: running_pid(local, name), f"{name} has a process"))


def running_pid(local: LocalCluster, name: str) -> int | None:
    live = [p for p in local.pods(name) if "deletionTimestamp" not in p["metadata"]]
    return local.call(local.cluster.pid_of, live[0]["metadata"]["name"]) if live else None


def child_of(log_dir: Path) -> int:
    """The child's pid, which the Pod wrote into its log."""
    lines = until(
        lambda: [line for f in log_dir.glob("*.log") for line in f.read_text().splitlines()], "it wrote a log"
    )
    return int(next(line for line in lines if line.startswith("child")).split()[1])


def test_a_pod_is_a_process_in_a_group_of_its_own() -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        pid = pid_of(local)
        (pod,) = local.pods("engine")
        assert alive(pid)
        assert os.getpgid(pid) == pid
        assert pod["metadata"]["annotations"]["brownout.dev/pid"] == str(pid)
        scale_to(local, 0)
        gone(local)
        assert not alive(pid)
        assert local.call(local.cluster.pid_of, pod["metadata"]["name"]) is None


def test_a_pod_is_pending_then_running_then_ready() -> None:
    with LocalCluster(workload("engine", ready_s=0.3, replicas=0), controller_delay_s=0.05) as local:
        version = local.get("/api/v1/namespaces/ml/pods")["metadata"]["resourceVersion"]
        scale_to(local, 1)
        local.up("engine")
        path = f"/api/v1/namespaces/ml/pods?watch=1&timeoutSeconds=0.1&resourceVersion={version}"
        seen: list[tuple[str, bool]] = []
        for line in local.request("GET", path).body.splitlines():
            status = json.loads(line)["object"]["status"]
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
            if (status["phase"], ready) not in seen:
                seen.append((status["phase"], ready))
        assert seen == [("Pending", False), ("Running", False), ("Running", True)]


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace_with_its_children(tmp_path: Path) -> None:
    stubborn = workload("engine", command=["bash", "-c", STUBBORN], grace_s=1)
    with LocalCluster(stubborn, log_dir=tmp_path) as local:
        local.up("engine")
        pid, child = pid_of(local), child_of(tmp_path)
        sent_at = time.monotonic()
        scale_to(local, 0)
        gone(local)
        assert time.monotonic() - sent_at >= 1
        assert not alive(pid)
        assert not alive(child)
        assert "heard TERM" in next(tmp_path.glob("*.log")).read_text()


def test_a_process_that_handles_sigterm_ends_before_its_grace_period() -> None:
    with LocalCluster(workload("engine", grace_s=30)) as local:
        local.up("engine")
        sent_at = time.monotonic()
        scale_to(local, 0)
        gone(local)
        assert time.monotonic() - sent_at < 5


def test_a_killed_process_is_restarted_in_its_pod(tmp_path: Path) -> None:
    fragile = workload("engine", command=["bash", "-c", "sleep 1000 & echo child $!; wait"])
    with LocalCluster(fragile, log_dir=tmp_path) as local:
        local.up("engine")
        (before,) = local.pods("engine")
        pid, child = pid_of(local), child_of(tmp_path)
        os.kill(pid, signal.SIGKILL)
        until(lambda: restarts(local) == 1, "it was started again")
        local.up("engine")
        (after,) = local.pods("engine")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert pid_of(local) != pid
        assert not alive(child)
        last = after["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert last["exitCode"] == -signal.SIGKILL


def restarts(local: LocalCluster) -> int:
    return int(local.pods("engine")[0]["status"]["containerStatuses"][0]["restartCount"])


def test_a_crashing_process_backs_off_and_is_not_ready() -> None:
    with LocalCluster(workload("engine", command=["false"])) as local:
        until(
            lambda: local.pods("engine") and local.pods("engine")[0]["status"].get("containerStatuses"),
            "it died once",
        )
        until(lambda: restarts(local) >= 2, "it was tried again")
        waiting = until(
            lambda: local.pods("engine")[0]["status"]["containerStatuses"][0]["state"].get("waiting"),
            "it waits",
        )
        assert waiting["reason"] == "CrashLoopBackOff"


def test_a_command_that_cannot_be_started_is_logged(tmp_path: Path) -> None:
    with LocalCluster(workload("engine", command=["/no/such/program"]), log_dir=tmp_path) as local:
        until(lambda: list(tmp_path.glob("*.log")), "there is a log")
        until(lambda: local.pods("engine")[0]["status"].get("containerStatuses"), "the Pod says so")
        assert "cannot start /no/such/program" in next(tmp_path.glob("*.log")).read_text()


def test_a_pod_that_stops_answering_is_not_ready_nor_is_its_endpoint() -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        pid = pid_of(local)
        os.kill(pid, signal.SIGSTOP)
        until(
            lambda: "readyReplicas" not in local.get(f"{ML}/deployments/engine")["status"], "it is not ready"
        )
        os.kill(pid, signal.SIGCONT)
        local.up("engine")
        assert restarts(local) == 0


def test_a_pod_waits_until_its_port_is_free() -> None:
    with LocalCluster(workload("engine", stop_s=0.5)) as local:
        local.up("engine")
        first = pid_of(local)
        scale_to(local, 0)
        # Two PATCHes before the controller reads would have no effect.
        until(lambda: running_pid(local, "engine") is None, "the old one is going")
        scale_to(local, 1)
        assert pid_of(local) != first
        assert not alive(first)
        local.up("engine")
        assert [p["metadata"].get("deletionTimestamp") for p in local.pods("engine")] == [None]
        assert restarts(local) == 0


def test_a_deleted_deployment_deletes_its_pods() -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        pid = pid_of(local)
        assert local.request("DELETE", f"{ML}/deployments/engine").body["status"] == "Success"
        gone(local)
        assert not alive(pid)


def test_a_pod_deleted_by_hand_is_replaced() -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        (pod,) = local.pods("engine")
        local.request("DELETE", f"/api/v1/namespaces/ml/pods/{pod['metadata']['name']}")
        until(
            lambda: pod["metadata"]["uid"] not in [p["metadata"]["uid"] for p in local.pods("engine")],
            "it is gone",
        )
        local.up("engine")


def test_a_changed_template_is_rolled_out() -> None:
    with LocalCluster(workload("engine")) as local:
        local.up("engine")
        first = pid_of(local)
        template = {"metadata": {"annotations": {"restarted": "now"}}}
        local.request("PATCH", f"{ML}/deployments/engine", {"spec": {"template": template}}, MERGE)
        until(lambda: not alive(first), "the old one is gone")
        assert local.up("engine")["status"]["updatedReplicas"] == 1
        assert pid_of(local) != first


def test_close_leaves_nothing(tmp_path: Path) -> None:
    stubborn = workload("stubborn", command=["bash", "-c", STUBBORN], grace_s=30)
    with LocalCluster(workload("engine"), stubborn, log_dir=tmp_path) as local:
        local.up("engine")
        local.up("stubborn")
        pids = [pid_of(local), pid_of(local, "stubborn"), child_of(tmp_path)]
        local.run(local.cluster.close(grace_s=0.2))
        assert not any(alive(pid) for pid in pids)


HOST = """
import asyncio, sys
from tests.embedded.recorded.stand import workload
from embedded.apiserver.cluster import Cluster
from embedded.apiserver.resources import PODS
async def main():
    cluster = Cluster()
    cluster.apply({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "ml"}})
    cluster.apply(workload("engine", command=["sleep", "1000"]))
    while True:
        await asyncio.sleep(0.01)
        for pod in cluster.store.list(PODS):
            if pid := cluster.pid_of(pod["metadata"]["name"]):
                print(pid, flush=True)
                await asyncio.sleep(1000)
asyncio.run(main())
"""


def test_a_host_killed_at_once_leaves_no_pod() -> None:
    host = subprocess.Popen([sys.executable, "-c", HOST], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        assert alive(pid)
    finally:
        host.kill()
        host.wait()
        if host.stdout:
            host.stdout.close()
    until(lambda: not alive(pid), "the Pod died with its host")


# kubectl
@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl on the PATH")
def test_kubectl_works(tmp_path: Path) -> None:
    made = certificate.make(tmp_path)
    if made is None:
        pytest.skip("no openssl: kubectl sends its token over TLS only")
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    with LocalCluster(workload("engine"), lease()) as local:
        local.up("engine")
        runner, port = local.run(serve(local.cluster, certificate=made))
        config = tmp_path / "kubeconfig"
        kubeconfig.write(config, f"https://127.0.0.1:{port}", ADMIN, "ml", made.certificate)
        assert stat.S_IMODE(config.stat().st_mode) == 0o600

        def kubectl(*arguments: str) -> str:
            command = ["kubectl", f"--kubeconfig={config}", f"--cache-dir={tmp_path}", *arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=20, env={"PATH": os.environ["PATH"]}
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        shown = kubectl("get", "deploy,pods,leases", "-n", "ml", "-o", "wide")
        assert "deployment.apps/engine   1/1" in shown
        assert str(pid_of(local)) in shown
        assert "run-a" in shown
        assert kubectl("scale", "deploy/engine", "--replicas=0") == "deployment.apps/engine scaled\n"
        kubectl("wait", "--for=delete", "pod", "-l", "app=engine", "--timeout=10s")
        assert "engine   0/0" in kubectl("get", "deploy")
        kubectl("patch", "deploy", "engine", "-p", '{"spec":{"replicas":1}}')
        assert "successfully rolled out" in kubectl("rollout", "status", "deploy/engine", "--timeout=10s")
        watched = kubectl("get", "deploy", "-w", "--request-timeout=1")
        assert watched.splitlines()[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
        assert '"replicas": 1' in kubectl("get", "deploy", "engine", "-o", "json")
        local.run(runner.cleanup())


def lease() -> dict[str, Any]:
    meta = {"name": "engine", "namespace": "ml"}
    spec = {"holderIdentity": "run-a", "leaseDurationSeconds": 15}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def test_a_watch_ends_when_the_server_goes() -> None:
    with LocalCluster(workload("engine", port=held_port())) as local:
        local.up("engine")
        begun = time.monotonic()
        local.loop.call_soon_threadsafe(lambda: local.loop.create_task(cleanup_soon(local)))
        local.request("GET", f"{ML}/deployments?watch=1&timeoutSeconds=20")
        assert time.monotonic() - begun < 5


async def cleanup_soon(local: LocalCluster) -> None:
    await asyncio.sleep(0.2)
    await local.runner.cleanup()

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
from tests.embedded.recorded.stand import ADMIN, Stand, until, workload
from tests.embedded.test_apiserver import MERGE, ML, alive, gone, scale_to
from tests.ports import held_port

ROOT = Path(__file__).parents[2]

# Logs SIGTERM and keeps running; its child is in the same group.
STUBBORN = "trap 'echo heard TERM' TERM; sleep 1000 & echo child $!; while :; do sleep 0.1; done"


def pid_of(stand: Stand, name: str = "engine") -> int:
    return int(until(lambda: running_pid(stand, name), f"{name} has a process"))


def running_pid(stand: Stand, name: str) -> int | None:
    live = [p for p in stand.pods(name) if "deletionTimestamp" not in p["metadata"]]
    return stand.call(stand.cluster.pid_of, live[0]["metadata"]["name"]) if live else None


def child_of(log_dir: Path) -> int:
    """The child's pid, which the Pod wrote into its log."""
    lines = until(
        lambda: [line for f in log_dir.glob("*.log") for line in f.read_text().splitlines()], "it wrote a log"
    )
    return int(next(line for line in lines if line.startswith("child")).split()[1])


def test_a_pod_is_a_process_in_a_group_of_its_own() -> None:
    with Stand(workload("engine")) as stand:
        stand.up("engine")
        pid = pid_of(stand)
        (pod,) = stand.pods("engine")
        assert alive(pid)
        assert os.getpgid(pid) == pid
        assert pod["metadata"]["annotations"]["brownout.dev/pid"] == str(pid)
        scale_to(stand, 0)
        gone(stand)
        assert not alive(pid)
        assert stand.call(stand.cluster.pid_of, pod["metadata"]["name"]) is None


def test_a_pod_is_pending_then_running_then_ready() -> None:
    with Stand(workload("engine", ready_s=0.3, replicas=0), controller_delay_s=0.05) as stand:
        version = stand.get("/api/v1/namespaces/ml/pods")["metadata"]["resourceVersion"]
        scale_to(stand, 1)
        stand.up("engine")
        path = f"/api/v1/namespaces/ml/pods?watch=1&timeoutSeconds=0.1&resourceVersion={version}"
        seen: list[tuple[str, bool]] = []
        for line in stand.request("GET", path).body.splitlines():
            status = json.loads(line)["object"]["status"]
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
            if (status["phase"], ready) not in seen:
                seen.append((status["phase"], ready))
        assert seen == [("Pending", False), ("Running", False), ("Running", True)]


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace_with_its_children(tmp_path: Path) -> None:
    stubborn = workload("engine", command=["bash", "-c", STUBBORN], grace_s=1)
    with Stand(stubborn, log_dir=tmp_path) as stand:
        stand.up("engine")
        pid, child = pid_of(stand), child_of(tmp_path)
        sent_at = time.monotonic()
        scale_to(stand, 0)
        gone(stand)
        assert time.monotonic() - sent_at >= 1
        assert not alive(pid)
        assert not alive(child)
        assert "heard TERM" in next(tmp_path.glob("*.log")).read_text()


def test_a_process_that_handles_sigterm_ends_before_its_grace_period() -> None:
    with Stand(workload("engine", grace_s=30)) as stand:
        stand.up("engine")
        sent_at = time.monotonic()
        scale_to(stand, 0)
        gone(stand)
        assert time.monotonic() - sent_at < 5


def test_a_killed_process_is_restarted_in_its_pod(tmp_path: Path) -> None:
    fragile = workload("engine", command=["bash", "-c", "sleep 1000 & echo child $!; wait"])
    with Stand(fragile, log_dir=tmp_path) as stand:
        stand.up("engine")
        (before,) = stand.pods("engine")
        pid, child = pid_of(stand), child_of(tmp_path)
        os.kill(pid, signal.SIGKILL)
        until(lambda: restarts(stand) == 1, "it was started again")
        stand.up("engine")
        (after,) = stand.pods("engine")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert pid_of(stand) != pid
        assert not alive(child)
        last = after["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert last["exitCode"] == -signal.SIGKILL


def restarts(stand: Stand) -> int:
    return int(stand.pods("engine")[0]["status"]["containerStatuses"][0]["restartCount"])


def test_a_crashing_process_backs_off_and_is_not_ready() -> None:
    with Stand(workload("engine", command=["false"])) as stand:
        until(
            lambda: stand.pods("engine") and stand.pods("engine")[0]["status"].get("containerStatuses"),
            "it died once",
        )
        until(lambda: restarts(stand) >= 2, "it was tried again")
        waiting = until(
            lambda: stand.pods("engine")[0]["status"]["containerStatuses"][0]["state"].get("waiting"),
            "it waits",
        )
        assert waiting["reason"] == "CrashLoopBackOff"


def test_a_command_that_cannot_be_started_is_logged(tmp_path: Path) -> None:
    with Stand(workload("engine", command=["/no/such/program"]), log_dir=tmp_path) as stand:
        until(lambda: list(tmp_path.glob("*.log")), "there is a log")
        until(lambda: stand.pods("engine")[0]["status"].get("containerStatuses"), "the Pod says so")
        assert "cannot start /no/such/program" in next(tmp_path.glob("*.log")).read_text()


def test_a_pod_that_stops_answering_is_not_ready_nor_is_its_endpoint() -> None:
    with Stand(workload("engine")) as stand:
        stand.up("engine")
        pid = pid_of(stand)
        os.kill(pid, signal.SIGSTOP)
        until(
            lambda: "readyReplicas" not in stand.get(f"{ML}/deployments/engine")["status"], "it is not ready"
        )
        os.kill(pid, signal.SIGCONT)
        stand.up("engine")
        assert restarts(stand) == 0


def test_a_pod_waits_until_its_port_is_free() -> None:
    with Stand(workload("engine", stop_s=0.5)) as stand:
        stand.up("engine")
        first = pid_of(stand)
        scale_to(stand, 0)
        # Two PATCHes before the controller reads would have no effect.
        until(lambda: running_pid(stand, "engine") is None, "the old one is going")
        scale_to(stand, 1)
        assert pid_of(stand) != first
        assert not alive(first)
        stand.up("engine")
        assert [p["metadata"].get("deletionTimestamp") for p in stand.pods("engine")] == [None]
        assert restarts(stand) == 0


def test_a_deleted_deployment_deletes_its_pods() -> None:
    with Stand(workload("engine")) as stand:
        stand.up("engine")
        pid = pid_of(stand)
        assert stand.request("DELETE", f"{ML}/deployments/engine").body["status"] == "Success"
        gone(stand)
        assert not alive(pid)


def test_a_pod_deleted_by_hand_is_replaced() -> None:
    with Stand(workload("engine")) as stand:
        stand.up("engine")
        (pod,) = stand.pods("engine")
        stand.request("DELETE", f"/api/v1/namespaces/ml/pods/{pod['metadata']['name']}")
        until(
            lambda: pod["metadata"]["uid"] not in [p["metadata"]["uid"] for p in stand.pods("engine")],
            "it is gone",
        )
        stand.up("engine")


def test_a_changed_template_is_rolled_out() -> None:
    with Stand(workload("engine")) as stand:
        stand.up("engine")
        first = pid_of(stand)
        template = {"metadata": {"annotations": {"restarted": "now"}}}
        stand.request("PATCH", f"{ML}/deployments/engine", {"spec": {"template": template}}, MERGE)
        until(lambda: not alive(first), "the old one is gone")
        assert stand.up("engine")["status"]["updatedReplicas"] == 1
        assert pid_of(stand) != first


def test_close_leaves_nothing(tmp_path: Path) -> None:
    stubborn = workload("stubborn", command=["bash", "-c", STUBBORN], grace_s=30)
    with Stand(workload("engine"), stubborn, log_dir=tmp_path) as stand:
        stand.up("engine")
        stand.up("stubborn")
        pids = [pid_of(stand), pid_of(stand, "stubborn"), child_of(tmp_path)]
        stand.run(stand.cluster.close(grace_s=0.2))
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
    with Stand(workload("engine"), lease()) as stand:
        stand.up("engine")
        runner, port = stand.run(serve(stand.cluster, certificate=made))
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
        assert str(pid_of(stand)) in shown
        assert "run-a" in shown
        assert kubectl("scale", "deploy/engine", "--replicas=0") == "deployment.apps/engine scaled\n"
        kubectl("wait", "--for=delete", "pod", "-l", "app=engine", "--timeout=10s")
        assert "engine   0/0" in kubectl("get", "deploy")
        kubectl("patch", "deploy", "engine", "-p", '{"spec":{"replicas":1}}')
        assert "successfully rolled out" in kubectl("rollout", "status", "deploy/engine", "--timeout=10s")
        watched = kubectl("get", "deploy", "-w", "--request-timeout=1")
        assert watched.splitlines()[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
        assert '"replicas": 1' in kubectl("get", "deploy", "engine", "-o", "json")
        stand.run(runner.cleanup())


def lease() -> dict[str, Any]:
    meta = {"name": "engine", "namespace": "ml"}
    spec = {"holderIdentity": "run-a", "leaseDurationSeconds": 15}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def test_a_watch_ends_when_the_server_goes() -> None:
    with Stand(workload("engine", port=held_port())) as stand:
        stand.up("engine")
        begun = time.monotonic()
        stand.loop.call_soon_threadsafe(lambda: stand.loop.create_task(cleanup_soon(stand)))
        stand.request("GET", f"{ML}/deployments?watch=1&timeoutSeconds=20")
        assert time.monotonic() - begun < 5


async def cleanup_soon(stand: Stand) -> None:
    await asyncio.sleep(0.2)
    await stand.runner.cleanup()

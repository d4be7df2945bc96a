"""The stack of the tests: as topologies/embedded.yaml, but faster, and with a short cooldown."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from chaos.kube.cluster import Cluster
from contract import topology
from contract.leash import Leashed
from tests.chaos.stand import ROOT, until
from tests.forked import Forked

KEY = "sk-of-the-tests"
COOLDOWN_S = 5
# One end of the race, so that each run of a test is like the others.
ENDS_WITH = "abort"
FASTER = {
    "vllm": {"startup-duration": "200ms", "sigterm": ENDS_WITH},
    "ollama": {"startup-duration": "200ms", "time-to-first-token": "100ms", "inter-token-latency": "40ms"},
    "openai": {"time-to-first-token": "120ms", "inter-token-latency": "30ms"},
}
SHORT = """
hypothesis: users are served by the next tier
baseline: 8s
settle: 14s
max: 3m
max_cloud_answers: 500
objectives: {ttft_ms: 2000}
steps:
  - {name: gaming-mode,  at: 8s, for: 12s, fault: scale_to_zero, target: vllm}
  - {name: cpu-tier-too, at: 12s, for: 4s,  fault: scale_to_zero, target: ollama}
expect:
  failover: {id: NFR65, step: gaming-mode, to: ollama, max_s: 5}
  cloud_only_in_need: {id: NFR68}
  cuts: {max_per_trial: 20}
  exercised: {gaming-mode: {ollama: 3}, cpu-tier-too: {openai: 1}}
"""


def write_inputs(folder: Path) -> Path:
    """The topology and the gateway's configuration; the path of the topology."""
    data = yaml.safe_load((ROOT / "topologies/embedded.yaml").read_text())
    data["gateway"]["cooldown"] = f"{COOLDOWN_S}s"
    for name, params in FASTER.items():
        data["embedded"]["engines"][name] |= params
    for params in data["embedded"]["engines"].values():
        if "documents" in params:
            params["documents"] = str(ROOT / "topologies" / params["documents"])
    gateway = yaml.safe_load((ROOT / "topologies/litellm.yaml").read_text())
    gateway["router_settings"]["cooldown_time"] = COOLDOWN_S
    (folder / "litellm.yaml").write_text(yaml.safe_dump(gateway))
    path = folder / "embedded.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def with_urls(folder: Path, port: int, api_key: str | None = None) -> Path:
    """A topology of a gateway on a port, and of a cluster that cannot be reached."""
    data = yaml.safe_load((ROOT / "topologies/embedded.yaml").read_text())
    del data["embedded"]
    data |= {"cluster": "x", "kubeconfig": "/none"}
    for tier in (data["gateway"], *data["tiers"]):
        tier["handles"] = {k: v for k, v in tier["handles"].items() if v != "embedded"}
    data["gateway"] |= {"url": f"http://127.0.0.1:{port}"}
    del data["gateway"]["api_key"]
    if api_key:
        data["gateway"]["api_key"] = api_key
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def scaled(cluster: Cluster, namespace: str, name: str, replicas: int) -> None:
    """Like kubectl: read and set again where the status was written in between."""

    def done() -> bool:
        found = cluster.scale("deployment", namespace, name)
        assert found is not None
        return cluster.set_scale("deployment", found, replicas, manager="kubectl") is not None

    until(done, f"{name} is scaled to {replicas}")


class Shared:
    """Started once; `calm` before each test."""

    def __init__(self, folder: Path) -> None:
        os.environ["LITELLM_MASTER_KEY"] = KEY
        self.folder = folder / "stack"
        self._process = Leashed(
            [sys.executable, "-m", "embedded", "stack", "--leash", "--topology", str(write_inputs(folder)),
             "--folder", str(self.folder)]
        )  # fmt: skip
        ready = self._process.first()
        assert ready is not None, "the stack did not start"
        self.path = Path(ready["topology"])
        self.topology = topology.read(self.path)
        self.cluster = Cluster(self.topology.kubeconfig)

    def close(self) -> None:
        self._process.let_go()
        assert self._process.wait() == 0

    def url(self, tier: str) -> str:
        return str(self.topology.tier(tier).url)

    def calm(self) -> None:
        """Waits until all Pods are ready and the gateway uses the first tier again."""
        for namespace, name in (("ml", "vllm-server"), ("ml", "ollama"), ("outside", "openai")):
            scale = self.cluster.scale("deployment", namespace, name)
            assert scale is not None
            if not scale["spec"].get("replicas"):
                self.scale(namespace, name, 1)
            until(partial(self.ready, namespace, name), f"{name} is ready")
        until(lambda: self.send()[0] == "vllm-qwen", "the gateway uses vllm again", 60)

    @contextmanager
    def going_with(self, end: str) -> Iterator[None]:
        """In the block a SIGTERM ends the vLLM's answers with `end`."""
        if end != ENDS_WITH:
            self._choose(end)
        try:
            yield
        finally:
            if end != ENDS_WITH:
                self._choose(ENDS_WITH)

    def _choose(self, end: str) -> None:
        deployment = self.cluster.workload("deployment", "ml", "vllm-server")
        assert deployment is not None
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        argv = container["command"]
        at = argv.index("--sigterm") + 1
        container |= {"command": [*argv[:at], end, *argv[at + 1 :]]}
        self.scale("ml", "vllm-server", 0)
        until(lambda: not self.cluster.pods("ml", {"matchLabels": {"app": "vllm-server"}}), "it has gone", 60)
        patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
        self.cluster._wire.patch("/apis/apps/v1/namespaces/ml/deployments/vllm-server", patch)
        self.calm()

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        scaled(self.cluster, namespace, name, replicas)

    def ready(self, namespace: str, name: str) -> int:
        found = self.cluster.workload("deployment", namespace, name)
        assert found is not None
        return found.get("status", {}).get("readyReplicas", 0)

    def send(self, model: str = "vllm-qwen", max_tokens: int = 2) -> tuple[str | None, dict[str, Any]]:
        """One plain request without the harness's client: the model group that served, and the body."""
        body = {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": "Count."}]}
        request = urllib.request.Request(
            f"{self.topology.gateway.url}/v1/chat/completions", json.dumps(body).encode(),
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.headers.get("x-litellm-model-group"), json.load(answer)

    def ledger(self, tier: str) -> dict[str, Any]:
        """nonce → entry, of all requests to this tier; the last one where a request was repeated."""
        return {e.nonce: e for e in self.entries(tier) if e.nonce}

    def entries(self, tier: str) -> list[Any]:
        """All requests to this tier, in order of arrival."""
        from embedded.engine.ledger import read

        return read(self.folder / "ledger" / f"{tier}.jsonl")

    def generated(self, tier: str) -> float:
        """Tokens that a vLLM reports as generated so far."""
        return self._metric(tier, "vllm:generation_tokens_total")

    def running(self, tier: str) -> float:
        """Requests that a vLLM reports as running."""
        return self._metric(tier, "vllm:num_requests_running")

    def _metric(self, tier: str, name: str) -> float:
        with urllib.request.urlopen(f"{self.url(tier)}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(x.rpartition(" ")[2]) for x in lines if x.startswith(name))

    def counted(self) -> dict[str, float]:
        """model group → litellm_deployment_success_responses_total, as counted by the gateway."""
        request = urllib.request.Request(
            f"{self.topology.gateway.url}/metrics/", headers={"Authorization": f"Bearer {KEY}"}
        )
        found: dict[str, float] = {}
        with urllib.request.urlopen(request, timeout=30) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("litellm_deployment_success_responses_total{"):
                    labels, _, value = line.rpartition(" ")
                    group = labels.split('requested_model="')[1].split('"')[0]
                    found[group] = found.get(group, 0.0) + float(value)
        return found


def locust_arguments(
    topology_path: Path, timeline: Path, results: Path, *more: str, users: int = 6
) -> list[str]:
    return [
        "-f", "locustfile.py", "--loglevel", "WARNING", "--topology", str(topology_path), "--timeline", str(timeline),
        "--results", str(results), "--users", str(users), "--spawn-rate", str(users), "--stop-timeout", "30", *more,
    ]  # fmt: skip


HEADLESS = ("--headless", "--only-summary")


def locust(
    topology_path: Path, timeline: Path, results: Path, *more: str, users: int = 6, headless: bool = True
) -> Forked:
    """`make soak` or `make ui` without make: a Locust with the project's locustfile."""
    given = locust_arguments(topology_path, timeline, results, *more, users=users)
    pipe, out = subprocess.PIPE, subprocess.STDOUT
    return Forked("locust", *(HEADLESS if headless else ()), *given, stdout=pipe, stderr=out)


def locust_process(topology_path: Path, timeline: Path, results: Path) -> subprocess.Popen:
    """The same as `python -m locust …`: a process that is found by its command line and its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "locust", *HEADLESS, *locust_arguments(topology_path, timeline, results)], cwd=ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def latest(results: Path) -> Path:
    return (results / "latest").resolve()

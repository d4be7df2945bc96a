"""A whole stack on this machine: gateway and engines as Pods of a small Kubernetes API, and a topology with their URLs.

One process runs it all: when that process is killed, the kernel kills the Pods too. On SIGTERM it stops only when no
Lease is held, because the holder still has to restore through it.
"""

import asyncio
import datetime
import os
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from contract import handles as handle_kinds
from contract import page
from contract import topology as topologies
from contract.blast_radius import Handles
from contract.foreign import without
from contract.framing import End
from contract.handle_kind import EMBEDDED, Started
from contract.records import GATEWAY as GATEWAY_NAME
from contract.refusal import Refusal
from contract.topology import Tier, Topology
from embedded import gateway, predictor, program
from embedded.apiserver import certificate
from embedded.apiserver.cluster import Cluster, Identity
from embedded.apiserver.kubeconfig import write as write_kubeconfig
from embedded.apiserver.resources import PODS
from embedded.apiserver.server import serve
from embedded.ports import Reserved, free_port
from embedded.program import CLOUD_KEY, Place, Program

NAMESPACE = "ml"
GATEWAY = "ml/litellm"  # its Deployment, where its handles name none
OUTSIDE = "outside"  # namespace of engines that get no faults, such as a cloud's
HOSTNAME = "kubernetes.io/hostname"
COMMON_NODE = "embedded"
READY_WITHIN_S = 120.0  # in addition to the configured loading time of its engines
CRASHES = 2


class Stack:
    """`up` starts it, `down` stops it. `folder` gets topology, kubeconfig, gateway configuration, logs and ledgers."""

    def __init__(self, topology: Topology, where: Path, folder: Path) -> None:
        if topology.embedded is None:
            raise Refusal(f"{where}: has no section 'embedded'; there is nothing to start")
        self._topology, self._where, self._folder = topology, where, folder
        self._embedded = topology.embedded
        missing = [t.name for t in topology.tiers if t.name not in self._embedded.engines]
        if missing:
            raise Refusal(f"{where}: embedded: engines: tier {missing[0]!r} has no engine")
        self._ports = {t.name: Reserved() for t in topology.tiers}
        self._gateway = topology.gateway.handles.get("deployment") or GATEWAY
        self._gateway_port = free_port(random.Random())
        self._programs: dict[str, Program] = {}
        self._cluster: Cluster | None = None
        self._runner: web.AppRunner | None = None

    async def up(self) -> Path:
        """Starts everything and returns the topology's path once everything answers. Raises Refusal."""
        folder = self._folder
        for part in ("log", "ledger", "pids"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        os.environ.setdefault(CLOUD_KEY, "cloud-" + secrets.token_hex(16))
        self._programs = {tier.name: self._program(tier) for tier in self._topology.tiers}
        for stale in (folder / "pids").iterdir():
            stale.unlink()  # of an earlier stack: with one, an engine would not recognise its first start
        key = self._topology.gateway.api_key
        if key is not None:
            topologies.secret(key)  # fails here rather than in the gateway 30 s later
        token = secrets.token_hex(16)
        self._cluster = Cluster(
            [Identity("admin", token, admin=True)], log_dir=folder / "log", kserve=bool(self._embedded.kserve)
        )
        made = certificate.make(folder)
        self._runner, port = await serve(self._cluster, certificate=made)
        url = f"{'https' if made else 'http'}://127.0.0.1:{port}"
        write_kubeconfig(folder / "kubeconfig", url, token, NAMESPACE, made.certificate if made else None)
        deployments = (t.handles.get("deployment") for t in self._topology.tiers)
        theirs = (handle.split("/")[0] for handle in deployments if handle)
        for name in dict.fromkeys((NAMESPACE, OUTSIDE, *theirs)):
            self._cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self._start_gateway()
        for tier in self._topology.tiers:
            self._start_engine(tier)
        await self._until_ready()
        path = folder / "topology.yaml"
        path.write_text(topologies.dump(self._running_topology()))
        return path

    async def until_no_lease(self) -> None:
        """Returns when no Lease is held, or every holder's deadline has passed."""
        assert self._cluster is not None
        while any(_open(lease, time.time()) for lease in self._cluster.held_leases()):
            await asyncio.sleep(0.1)

    async def down(self) -> None:
        """Safe to call twice, and after a failed start."""
        if self._cluster is not None:
            await self._cluster.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._cluster = self._runner = None

    def _start_gateway(self) -> None:
        config = gateway.configuration(
            self._where.parent / self._embedded.gateway, self._topology, self._urls()
        )
        path = self._folder / "gateway.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        argv = gateway.command(path, self._gateway_port, self._pidfile(GATEWAY_NAME))
        env, grace_s = gateway.ENVIRONMENT, gateway.TERMINATION_GRACE_S
        handles = self._topology.gateway.handles
        self._deploy(
            self._gateway, argv, self._gateway_port, gateway.READY, env, grace_s, handles.get("node")
        )

    def _program(self, tier: Tier) -> Program:
        folder = self._folder
        place = Place(
            self._ports[tier.name].port, folder / "ledger" / f"{tier.name}.jsonl", self._pidfile(tier.name)
        )
        where = f"{self._where}: embedded: engines: {tier.name!r}"
        return program.of(tier, self._embedded.engines[tier.name], place, where, self._where.parent)

    def _start_engine(self, tier: Tier) -> None:
        assert self._cluster is not None
        runs = self._programs[tier.name]
        handle = tier.handles.get("deployment") or f"{OUTSIDE}/{tier.name}"
        port, node = self._ports[tier.name].port, tier.handles.get("node")
        served = self._embedded.kserve.get(tier.name)
        owner = self._cluster.apply(predictor.service(handle, served)) if served else None
        self._deploy(handle, runs.argv, port, runs.ready, runs.env, runs.grace_s, node, owner)

    def _pidfile(self, tier: str) -> Path:
        return (self._folder / "pids" / tier).resolve()

    def _deploy(
        self,
        handle: str,
        argv: list[str],
        port: int,
        ready: str | None,
        env: dict[str, str],
        grace_s: int,
        node: str | None = None,
        owner: dict[str, Any] | None = None,
    ) -> None:
        """`owner`: the InferenceService that the Deployment is the predictor of."""
        assert self._cluster is not None
        # What has no own node shares one that no other workload names: a drain evicts every Pod of its node.
        where = {"nodeSelector": {HOSTNAME: node or COMMON_NODE}}
        if node:
            meta = {"name": node, "labels": {HOSTNAME: node}}
            self._cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {}})
        namespace, name = handle.split("/")
        labels = predictor.selector(name) if owner else {"app": name}
        container: dict[str, Any] = {
            "name": "server",
            "image": "embedded",
            "command": argv,
            "env": [{"name": k, "value": v} for k, v in env.items()],
            "ports": [{"containerPort": port}],
        }
        if ready:
            container["readinessProbe"] = {"httpGet": {"path": ready, "port": port}}
        self._cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": labels, "ports": [{"port": port}]},
            }
        )
        made: dict[str, Any] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [container], "terminationGracePeriodSeconds": grace_s, **where},
                },
            },
        }
        self._cluster.apply(predictor.marked(made, owner) if owner else made)

    async def _until_ready(self) -> None:
        within_s = READY_WITHIN_S + max(program.starts_s for program in self._programs.values())
        until = time.monotonic() + within_s
        gateway_url = f"http://127.0.0.1:{self._gateway_port}{gateway.READY}"
        waiting = {self._gateway: gateway_url}
        for name, url in self._urls().items():
            waiting[name] = url + self._programs[name].health
        while waiting:
            for name, url in list(waiting.items()):
                if await asyncio.to_thread(_answers, url):
                    del waiting[name]
            self._refuse_crashes()
            if time.monotonic() > until:
                raise Refusal(
                    f"the embedded stack is not ready after {within_s:.0f} s: no answer from "
                    f"{', '.join(waiting)}; see {self._folder / 'log'}"
                )
            await asyncio.sleep(0.1)

    def _refuse_crashes(self) -> None:
        """A process that crashes repeatedly will not become ready later."""
        assert self._cluster is not None
        for pod in self._cluster.store.list(PODS, None):
            name = pod["metadata"]["name"]
            for container in pod.get("status", {}).get("containerStatuses", ()):
                if container["restartCount"] >= CRASHES:
                    log = self._folder / "log" / f"{name}.log"
                    words = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
                    last = without((), words[-1]) if words else "its log is empty"
                    raise Refusal(f"{name} does not start: {last}; see {log}")

    def _urls(self) -> dict[str, str]:
        return {name: f"http://127.0.0.1:{port.port}" for name, port in self._ports.items()}

    def _running_topology(self) -> Topology:
        """The topology with URLs, kubeconfig and the cluster's uid filled in, and without the `embedded` section."""
        assert self._cluster is not None
        urls = self._urls()
        tiers = []
        for tier in self._topology.tiers:
            where: dict[str, Any] = {"handles": self._filled(tier.handles, tier.name, urls[tier.name])}
            if tier.match.api_base is not None:
                base = gateway.placed(tier.match.api_base, urls[tier.name])
                where["match"] = tier.match.model_copy(update={"api_base": base})
            if not tier.cloud:
                where |= {
                    "url": urls[tier.name],
                    "health": urls[tier.name] + self._programs[tier.name].health,
                }
            tiers.append(tier.model_copy(update=where))
        url, given = f"http://127.0.0.1:{self._gateway_port}", self._topology.gateway
        handles = self._filled(given.handles, GATEWAY_NAME, url)
        reached = given.model_copy(update={"url": url, "health": url + gateway.ALIVE, "handles": handles})
        return self._topology.model_copy(
            update={
                "cluster": self._cluster.uid,
                "kubeconfig": str((self._folder / "kubeconfig").resolve()),
                "gateway": reached,
                "tiers": tiers,
                "embedded": None,
            }
        )

    def _filled(self, handles: Handles, name: str, url: str) -> Handles:
        """The handles with the value `embedded` replaced; handles that are not given stay absent."""
        started = Started(str(self._pidfile(name)), url)
        found: dict[str, Any] = {}
        for kind in handles.kinds():
            fill = handle_kinds.find(kind).embedded
            if fill is not None and handles.get(kind) == EMBEDDED:
                found[kind] = fill(started)
        return handles.model_copy(update=found)


async def hold(stack: Stack, stop: asyncio.Event, report: Callable[[dict[str, Any]], None]) -> None:
    """Starts the stack, reports its topology, waits for `stop` and for held Leases, stops the stack."""
    try:
        starting = asyncio.ensure_future(stack.up())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            report({"topology": str(starting.result())})
            await stopping
            await stack.until_no_lease()
        else:
            starting.cancel()
    finally:
        await stack.down()


def _open(lease: dict[str, Any], now: float) -> bool:
    spec = lease["spec"]
    acquired = spec.get("acquireTime") or lease["metadata"]["creationTimestamp"]
    began = datetime.datetime.fromisoformat(acquired.replace("Z", "+00:00")).timestamp()
    return now < began + spec.get("leaseDurationSeconds", 0)


def _answers(url: str) -> bool:
    found = page.get(url, 2.0, {"Authorization": f"Bearer {os.environ.get(CLOUD_KEY, '')}"})
    return found.status == 200 and found.end is End.COMPLETE


def describe(folder: Path) -> str:
    """The state of each part of the stack in `folder`, for `make status`."""
    found = topologies.read(folder / "topology.yaml")
    lines = [f"gateway  {found.gateway.url}  {_state(str(found.gateway.url) + gateway.READY)}"]
    for tier in found.tiers:
        lines.append(
            f"{tier.name:<8} {tier.url or 'cloud'}  {_state(tier.health) if tier.health else ''}".rstrip()
        )
    return "\n".join([*lines, f"kubectl --kubeconfig {found.kubeconfig} get pods -A"])


def _state(url: str) -> str:
    return "up" if _answers(url) else "down"

"""Runs the Pods: each is a process on this machine, which is started, probed, restarted when it dies, and ended.

The law: a Pod is removed from the store only after its process group has ended.

A Pod that NetworkPolicies cut off is frozen meanwhile (SIGSTOP to its group). Differences from a real cluster:
- A real cluster drops the SYN. Here the kernel accepts the connection, and nothing answers on it. Once the Pod is
  reachable again, or is deleted and gets its SIGTERM, it answers the waiting requests.
- There the Pod continues to compute. Here it stops, so its own requests and its open connections stall too.
- There a Pod that starts while it is cut off becomes ready, because policies let the kubelet's probes pass. So here it
  runs until it is ready and is frozen then. While frozen it is not probed and stays ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedded.apiserver import pod as pods
from embedded.apiserver.isolation import is_cut_off
from embedded.apiserver.probe import Probe
from embedded.apiserver.process import Process
from embedded.apiserver.resources import NETWORKPOLICIES, PODS
from embedded.apiserver.store import Event, Store

# A process that ran longer than this is not in a crash loop.
STABLE_AFTER_S = 10.0
# The exit code that a container runtime reports for a command that cannot be started.
CANNOT_START = 128


class Kubelet:
    """One task per Pod of the store."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], float],
        log_dir: Path | None,
        start_delay_s: float,
        backoff_s: tuple[float, float],
        probe_period_s: float,
    ) -> None:
        self.store = store
        self.now = now
        self.log_dir = log_dir
        self.start_delay_s = start_delay_s
        self.backoff_s = backoff_s
        self.probe_period_s = probe_period_s
        self._runs: dict[str, PodRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._held_ports: dict[int, str] = {}
        self._released = asyncio.Event()

    def on_event(self, event: Event) -> None:
        if event.resource is NETWORKPOLICIES:
            for run in self._runs.values():
                run.apply_policies()
        if event.resource is not PODS or event.type == "DELETED":
            return
        uid = event.after["metadata"]["uid"]
        if uid not in self._runs:
            if pods.is_bound(event.after) and not pods.is_over(event.after):
                self._runs[uid] = PodRun(self, event.after)
                self._tasks[uid] = asyncio.create_task(self._runs[uid].run())
                self._tasks[uid].add_done_callback(lambda _: self._forget(uid))
        elif pods.is_live(event.after):
            self._runs[uid].apply_policies()
        else:
            self._runs[uid].stop()

    async def close(self, grace_s: float | None) -> None:
        for run in self._runs.values():
            if grace_s is not None:
                run.grace_s = grace_s
            run.stack_stops = True
            run.stop()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def hold_ports(self, uid: str, ports: list[int], stopping: asyncio.Event) -> bool:
        """A Pod waits until no other Pod holds its ports, as with the scheduler and host ports."""
        while any(self._held_ports.get(port, uid) != uid for port in ports):
            if stopping.is_set():
                return False
            self._released.clear()
            await _first(self._released, stopping)
        self._held_ports.update(dict.fromkeys(ports, uid))
        return not stopping.is_set()

    def _forget(self, uid: str) -> None:
        self._runs.pop(uid, None)
        self._tasks.pop(uid, None)
        for port in [port for port, holder in self._held_ports.items() if holder == uid]:
            del self._held_ports[port]
        self._released.set()


class PodRun:
    """The life of one Pod."""

    def __init__(self, kubelet: Kubelet, pod: dict[str, Any]) -> None:
        self.kubelet = kubelet
        self.uid = pod["metadata"]["uid"]
        self.key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        self.container = pod["spec"]["containers"][0]
        self.ports = pods.ports_of(pod)
        self.grace_s: float = pod["spec"]["terminationGracePeriodSeconds"]
        self.stopping = asyncio.Event()
        # The stack stops: the Pod ends without being deleted.
        self.stack_stops = False
        self.restarts = 0
        self.process: Process | None = None
        self.thawed = asyncio.Event()
        self.freezes = 0

    async def run(self) -> None:
        if await self.kubelet.hold_ports(self.uid, self.ports, self.stopping):
            await _sleep_unless(self.stopping, self.kubelet.start_delay_s)
            backoff_s = self.kubelet.backoff_s[0]
            while not self.stopping.is_set():
                started_at = self.kubelet.now()
                exit_code = await self._one_process()
                if self.stopping.is_set():
                    break
                ended_at = self.kubelet.now()
                if ended_at - started_at > STABLE_AFTER_S:
                    backoff_s = self.kubelet.backoff_s[0]
                self._put_status(pods.waiting, exit_code, self.restarts, started_at)
                await _sleep_unless(self.stopping, backoff_s)
                backoff_s = min(2 * backoff_s, self.kubelet.backoff_s[1])
                self.restarts += 1
        self._remove()

    def stop(self) -> None:
        """The Pod was deleted or has failed, or the grace period of a deleted Pod became shorter."""
        if self.stopping.is_set() and self.process is not None:
            self.process.shorten_grace(self._grace_left_s())
        self.stopping.set()

    def apply_policies(self) -> None:
        """Freezes the process while policies cut the Pod off; a Pod that is not ready yet runs until it is."""
        pod, process = self._pod(), self.process
        if pod is None or process is None or self.stopping.is_set() or not pods.is_live(pod):
            return
        cut_off = is_cut_off(pod, self.kubelet.store.list(NETWORKPOLICIES, self.key[0]))
        if cut_off and not process.frozen and pods.is_ready(pod):
            self.freezes += 1
            self.thawed.clear()
            process.freeze()
        elif not cut_off and process.frozen:
            process.thaw()
            self.thawed.set()

    async def _one_process(self) -> int:
        """Runs a process from its start until its group has ended; its exit code."""
        log = self.kubelet.log_dir / f"{self.key[1]}.log" if self.kubelet.log_dir else None
        argv = [*self.container["command"], *self.container.get("args", [])]
        env = {item["name"]: str(item.get("value", "")) for item in self.container.get("env") or []}
        try:
            process = await Process.start(argv, env, log, self.container.get("workingDir"))
        except OSError as error:
            if log:
                with log.open("a") as file:
                    file.write(f"cannot start {argv[0]}: {error}\n")
            return CANNOT_START
        self.process = process
        probing: asyncio.Task[None] | None = None
        try:
            self._put_status(pods.running, process.pid, self.restarts)
            probing = asyncio.create_task(self._watch_readiness())
            await _first(self.stopping, process.exited)
        finally:
            if probing:
                probing.cancel()
            if self.stopping.is_set() and not process.exited.done():
                await process.stop(self._grace_left_s())
            else:
                await process.kill()
            self.process = None
        return process.exited.result() if process.exited.done() else -1

    async def _watch_readiness(self) -> None:
        probe = Probe.of(self.container, self.kubelet.probe_period_s)
        if probe is None:
            self._put_status(pods.readiness, True)
            return
        await asyncio.sleep(probe.initial_delay_s)
        ready, streak = False, 0
        while True:
            while self.process is not None and self.process.frozen:
                await self.thawed.wait()
            freezes = self.freezes
            answered = await probe.answers()
            if freezes != self.freezes:
                continue  # frozen before it could answer
            streak = streak + 1 if answered is not ready else 0
            if streak >= (probe.failures if ready else probe.successes):
                ready, streak = not ready, 0
                self._put_status(pods.readiness, ready)
            await asyncio.sleep(probe.period_s)

    def _grace_left_s(self) -> float:
        pod = self._pod()
        if self.stack_stops or pod is None:
            return self.grace_s
        return float(pod["metadata"].get("deletionGracePeriodSeconds", 0))

    def _remove(self) -> None:
        pod = self._pod()
        # A Failed Pod stays until it is deleted.
        if pod is not None and not (pods.is_over(pod) and "deletionTimestamp" not in pod["metadata"]):
            self.kubelet.store.remove(PODS, *self.key)

    def _pod(self) -> dict[str, Any] | None:
        pod = self.kubelet.store.get(PODS, *self.key)
        return pod if pod is not None and pod["metadata"]["uid"] == self.uid else None

    def _put_status(self, change: Callable[..., dict[str, Any]], *args: Any) -> None:
        """`change`: a function of `pod` that takes the Pod, `args` and the time, and returns the new Pod."""
        pod = self._pod()
        if pod is not None and pods.is_live(pod):
            self.kubelet.store.put(PODS, change(pod, *args, self.kubelet.now()))


async def _first(*things: asyncio.Event | asyncio.Future[Any]) -> None:
    """Waits until one of them is set or done; cancels the waits for the others, not the others themselves."""
    waits = [t if isinstance(t, asyncio.Future) else asyncio.create_task(t.wait()) for t in things]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for thing, wait in zip(things, waits, strict=True):
            if wait is not thing:
                wait.cancel()


async def _sleep_unless(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass  # the sleep is over

"""The dead-man of a cluster: restores what is past its deadline by the Leases alone, and nothing that is not.

It runs in the cluster (deploy/reaper.yaml), so that a fault ends although every process of ours, or their machine, is
gone. Its heartbeat is a Lease in each namespace that it serves; nothing is injected there while the heartbeat is stale.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from chaos.kube.cluster import API_ERRORS, Cluster, error_text
from chaos.kube.names import LABEL
from chaos.kube.right import Right
from chaos.stop import Stop
from chaos.undo import lease
from chaos.undo.deputy import Deputy
from chaos.undo.journal import Undo
from contract.clock import Clock

BY = "reaper"
HEARTBEAT = "brownout-reaper"
EVERY_S = 5.0
FRESH_S = 30.0  # a heartbeat older than this is no heartbeat
CLOCKS_AGREE_S = 5.0  # a Lease's deadline was written by one clock and is read by another
RESTORE_WITHIN_S = 60.0  # then it looks again, and goes on trying


class Reaper:
    """`run` returns when `stop` is set. A restore has a thread of its own: one that hangs delays no other."""

    def __init__(
        self,
        cluster: Cluster,
        namespaces: list[str],
        clock: Clock,
        stop: Stop,
        log: Callable[[str], None],
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._cluster, self._namespaces, self._clock, self._stop, self._log = (
            cluster,
            namespaces,
            clock,
            stop,
            log,
        )
        self._wait = wait
        self._restoring: dict[str, threading.Thread] = {}

    def run(self) -> None:
        while True:
            for namespace in self._namespaces:
                try:
                    self.look(namespace)
                    # After the look: a heart that missing_heartbeat though nothing can be seen would be believed.
                    self._write_heartbeat(namespace)
                except Exception as e:  # also a mistake of ours: a dead-man that ends restores nothing
                    self._log(f"{namespace}: {error_text(e)}")
            if self._stop.wait(EVERY_S):
                break
        for thread in self._restoring.values():
            thread.join()

    def _write_heartbeat(self, namespace: str) -> None:
        """By a clock that is wrong deadlines are misread: it goes on restoring, and nothing may rely on it."""
        now = self._clock.now()
        ahead_s = self._cluster.clock_ahead_s(now)
        if ahead_s is not None and abs(ahead_s) > CLOCKS_AGREE_S:
            self._log(
                f"{namespace}: no heartbeat: this clock is {ahead_s:+.0f} s off the API server's; correct it"
            )
            return
        _write_heartbeat(self._cluster, namespace, now)

    def look(self, namespace: str) -> None:
        """Begin to restore what is past its deadline. Raises API_ERRORS."""
        for found in self._cluster.leases(namespace, LABEL):
            uid = found["metadata"]["uid"]
            try:
                undo = lease.undo_in(found)
            except ValueError as e:
                self._log(f"{namespace}: {e}; left alone")
                continue
            busy = self._restoring.get(uid)
            if self._clock.now() > undo.deadline and not (busy and busy.is_alive()):
                thread = threading.Thread(
                    target=self._restore, args=(undo, uid), name=f"restore {undo.handle}"
                )
                self._restoring[uid] = thread
                thread.start()
        self._restoring = {uid: t for uid, t in self._restoring.items() if t.is_alive()}

    def _restore(self, undo: Undo, uid: str) -> None:
        try:
            found = lease.read(self._cluster, undo)
        except API_ERRORS:
            return  # it looks again soon
        if found is None or found["metadata"]["uid"] != uid:
            return  # given back since it was listed
        Deputy(undo, BY, self._clock, self._log, cluster=self._cluster, wait=self._wait).restore(
            RESTORE_WITHIN_S
        )


def missing_heartbeat(cluster: Cluster, namespace: str, now: float) -> str | None:
    """None: a reaper serves this namespace; otherwise why not. Raises API_ERRORS."""
    found = cluster.lease(namespace, HEARTBEAT)
    if found is None:
        return f"no reaper serves the namespace {namespace}: kubectl apply -f deploy/reaper.yaml"
    age_s = now - lease.unix(found["spec"].get("renewTime"))
    if age_s > FRESH_S:
        return f"the reaper of the namespace {namespace} was last seen {age_s:.0f} s ago"
    return None


def right(namespace: str) -> Right:
    """To see the heartbeat."""
    return Right("get", "coordination.k8s.io", "leases", namespace, HEARTBEAT)


def _write_heartbeat(cluster: Cluster, namespace: str, now: float) -> None:
    spec: dict[str, Any] = {
        "holderIdentity": f"{socket.gethostname()}:{os.getpid()}",
        "leaseDurationSeconds": round(FRESH_S),
        "renewTime": lease.instant(now),
    }
    found = cluster.lease(namespace, HEARTBEAT)
    if found is None:
        meta = {"name": HEARTBEAT}
        cluster.create_lease(
            namespace,
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec},
        )
    else:
        cluster.replace_lease({**found, "spec": spec})

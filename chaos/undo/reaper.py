"""The dead-man of a cluster: restores faults that are past their deadline, from the Leases alone.

It runs in the cluster (deploy/reaper.yaml), so that a fault ends even if every process of ours, or their machine, is
gone. Its heartbeat is a Lease in each namespace that it serves; no fault is injected there while the heartbeat is stale.
"""

import os
import socket
import time
from collections.abc import Callable
from typing import Any

from chaos.kube.cluster import API_ERRORS, Cluster, api_error_text
from chaos.kube.names import LABEL
from chaos.kube.right import Right
from chaos.retry import error_text
from chaos.stop import Stop
from chaos.undo import lease, signature
from chaos.undo.deputy import Deputy
from chaos.undo.overdue import Due, Overdue
from chaos.undo.signature import Keys
from contract.clock import Clock

BY = "reaper"
HEARTBEAT = "brownout-reaper"
EVERY_S = 5.0
FRESH_S = 30.0  # maximum age of a heartbeat
CLOCKS_AGREE_S = 5.0  # a Lease's deadline is written by one clock and read by another
RESTORE_WITHIN_S = 60.0  # then it reads the Leases again, and tries again
RESTORES_MOST = 8  # at once: each may hold a page of Pods in memory
REPORTED = 20  # unreadable records that one look reports by name; all are counted


class Reaper:
    """`run` returns when `stop` is set. Restores run in threads of their own: one that hangs does not delay the look."""

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
        self._overdue = Overdue(self._restore, RESTORES_MOST)
        self._authenticated: dict[str, str] = {}  # namespace → what was logged last
        self._unreadable: dict[str, set[str]] = {}  # namespace → uids of Leases that were reported

    def run(self) -> None:
        while True:
            for namespace in self._namespaces:
                try:
                    self.look(namespace)
                    # Only after the look: a reaper that cannot read Leases must not have a heartbeat.
                    self._write_heartbeat(namespace)
                except Exception as e:  # also a bug of ours: a dead-man that ends restores nothing
                    self._log(f"{namespace}: {api_error_text(e)}")
            if self._stop.wait(EVERY_S):
                break
        self._overdue.close()

    def _write_heartbeat(self, namespace: str) -> None:
        """No heartbeat while this clock is wrong: it would misread deadlines. It keeps restoring, but no run may rely on it."""
        now = self._clock.now()
        ahead_s = self._cluster.clock_ahead_s(now)
        if ahead_s is not None and abs(ahead_s) > CLOCKS_AGREE_S:
            self._log(
                f"{namespace}: no heartbeat: this clock is {ahead_s:+.0f} s off the API server's; correct it"
            )
            return
        _write_heartbeat(self._cluster, namespace, now)

    def look(self, namespace: str) -> None:
        """Start to restore the faults that are past their deadline. Raises API_ERRORS."""
        unreadable: dict[str, str] = {}
        seen: set[str] = set()
        keys = self._keys(namespace)
        try:
            for found in self._cluster.leases(namespace, LABEL):
                meta = found["metadata"]
                seen.add(meta["uid"])
                try:
                    undo = lease.trusted(found, keys, self._clock.now())
                    deadline = undo.deadline
                    if self._cluster.uid not in (None, undo.cluster):
                        raise ValueError(f"the Lease {meta['name']}: its record is of another cluster")
                except Exception as e:  # also a bug of ours: it costs this record alone
                    unreadable[meta["uid"]] = str(e) if isinstance(e, ValueError) else error_text(e)
                    continue
                if self._clock.now() > deadline:
                    self._overdue.add(Due(namespace, meta["name"], meta["uid"], deadline))
            self._overdue.keep(namespace, seen)
        finally:
            self._overdue.start()  # also what was found before the list broke off
        self._report(namespace, unreadable)

    def announce(self) -> None:
        """Log whether the records of each namespace are authenticated."""
        for namespace in self._namespaces:
            try:
                keys = signature.read(self._cluster, namespace)
            except API_ERRORS as e:
                self._log(f"{namespace}: unknown whether records are authenticated: {api_error_text(e)}")
                continue
            self._authenticated.setdefault(namespace, "")
            self._note(namespace, keys)

    def _keys(self, namespace: str) -> Keys:
        keys = signature.read(self._cluster, namespace)
        if namespace in self._authenticated:
            self._note(namespace, keys)
        return keys

    def _note(self, namespace: str, keys: Keys) -> None:
        words = (
            f"records are not authenticated: {keys.missing}" if keys.missing else "records are authenticated"
        )
        if self._authenticated[namespace] != words:
            self._authenticated[namespace] = words
            self._log(f"{namespace}: {words}")

    def _report(self, namespace: str, unreadable: dict[str, str]) -> None:
        """Each unreadable record once, and their number where it has changed."""
        before = self._unreadable.get(namespace, set())
        self._unreadable[namespace] = set(unreadable)
        new = [why for uid, why in unreadable.items() if uid not in before]
        for why in new[:REPORTED]:
            self._log(f"{namespace}: {why}; left alone")
        if len(unreadable) != len(before):
            what = "1 Lease holds" if len(unreadable) == 1 else f"{len(unreadable)} Leases hold"
            self._log(f"{namespace}: {what} no record that can be acted on; left alone")

    def _restore(self, due: Due) -> None:
        try:
            found = self._cluster.lease(due.namespace, due.name)
            if found is None or found["metadata"]["uid"] != due.uid:
                return  # released since it was listed
            undo = lease.trusted(found, self._keys(due.namespace), self._clock.now())
            if self._clock.now() <= undo.deadline:
                return  # moved since it was listed
            Deputy(undo, BY, self._clock, self._log, cluster=self._cluster, wait=self._wait).restore(
                RESTORE_WITHIN_S
            )
        except API_ERRORS:
            return  # it tries again soon
        except Exception as e:  # also a bug of ours: it costs this record alone
            self._log(f"{due.namespace}: {due.name}: {error_text(e)}")


def missing_heartbeat(cluster: Cluster, namespace: str, now: float) -> str | None:
    """Why no live reaper serves this namespace; None: one does. Raises API_ERRORS."""
    found = cluster.lease(namespace, HEARTBEAT)
    if found is None:
        return f"no reaper serves the namespace {namespace}: kubectl apply -f deploy/reaper.yaml"
    age_s = now - lease.unix(found["spec"].get("renewTime"))
    if age_s > FRESH_S:
        return f"the reaper of the namespace {namespace} was last seen {age_s:.0f} s ago"
    if age_s < -CLOCKS_AGREE_S:
        return (
            f"the heartbeat of the reaper of the namespace {namespace} is {-age_s:.0f} s in the future: correct the clock of its "
            f"node, or remove what someone else wrote: kubectl delete lease -n {namespace} {HEARTBEAT}"
        )
    return None


def right(namespace: str) -> Right:
    """To read the heartbeat."""
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

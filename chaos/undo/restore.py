"""Restores open faults: from the journal of this machine, and from the Leases of a cluster. Safe at any time.

It reports each open fault and the result. An open fault whose run is still alive is restored too, since the operator
requested it. A restore is verified by a real answer, with the given topology or the one in the run's folder; where
neither has the target, the line contains `answered: unknown`.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from chaos.kube.cluster import API_ERRORS, Cluster, api_error_text
from chaos.kube.names import LABEL
from chaos.target import handles_of
from chaos.undo import lease, signature
from chaos.undo.deputy import Deputy
from chaos.undo.journal import Journal, Undo
from chaos.undo.reaper import REPORTED
from contract.clock import Clock
from contract.topology import Topology

BY = "restore"
RESTORES_MOST = 32  # at once
LEASES_MOST = 500  # records of Leases that one call restores


def restore(
    journal: Journal, topology: Topology | None, clock: Clock, within_s: float, log: Callable[[str], None]
) -> int:
    """The number of open faults that could not be restored, or whose records could not be read."""
    unreadable: list[str] = []
    records = journal.records(lambda why: unreadable.append(f"cannot be read, so not restored: {why}"))
    deputies = {undo.key: Deputy(undo, BY, clock, log, journal, stack=topology) for undo in records}
    left = 0
    if topology is not None and topology.cluster is not None:
        cluster = Cluster(topology.kubeconfig)
        found: list[Undo] = []
        many = False
        try:
            for undo in held(cluster, namespaces_of(topology), unreadable.append, clock.now):
                if undo.key not in deputies:
                    found.append(undo)
                if len(found) == 2 * LEASES_MOST:  # others may have created more than fit in memory
                    many, found = True, _most_overdue(found)
        except API_ERRORS as e:
            log(f"the Leases cannot be read: {api_error_text(e)}")
            left += 1
        if many or len(found) > LEASES_MOST:
            log(f"there are more than {LEASES_MOST} Leases: run it again for the others")
            left += 1
        for undo in _most_overdue(found):
            deputies[undo.key] = Deputy(undo, BY, clock, log, cluster=cluster, stack=topology)
    for words in unreadable[:REPORTED]:
        log(words)
    if len(unreadable) > REPORTED:
        log(f"{len(unreadable)} records cannot be read; {REPORTED} of them are shown")
    left += len(unreadable)
    if not deputies and not left:
        log("no open faults")
        return 0
    # In parallel: one that loads its model for minutes must not keep the next one down. The journal's come first. (The pool needs
    # at least one worker.)
    with ThreadPoolExecutor(min(max(1, len(deputies)), RESTORES_MOST)) as pool:
        done = dict(zip(deputies, pool.map(lambda d: d.restore(within_s), deputies.values()), strict=True))
    for undo in records:
        if done[undo.key]:
            journal.close(undo)
    return left + sum(not each for each in done.values())


def _most_overdue(found: list[Undo]) -> list[Undo]:
    return sorted(found, key=lambda undo: undo.deadline)[:LEASES_MOST]


def namespaces_of(topology: Topology) -> list[str]:
    """The namespaces of the Leases of its targets."""
    handles = [handle for name in topology.targets() for handle in handles_of(topology, name)]
    return sorted({lease.namespace_of(h.kind, h.name) for h in handles if h.on_cluster})


def held(
    cluster: Cluster,
    namespaces: Iterable[str],
    unreadable: Callable[[str], None],
    now: Callable[[], float],
) -> Iterable[Undo]:
    """The undo records in the Leases of these namespaces; why one cannot be read goes to `unreadable`. Raises API_ERRORS."""
    for namespace in namespaces:
        keys = signature.read(cluster, namespace)
        for found in cluster.leases(namespace, LABEL):
            try:
                yield lease.trusted(found, keys, now())
            except ValueError as e:
                unreadable(f"{namespace}: {e}; left alone")

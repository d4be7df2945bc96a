"""Mends what is open: from the journal of this machine, and from the Leases of a cluster. Safe at any time.

It shows what is open and what it did about it; an open fault whose run is still alive is mended too, since that is
what the operator asks for.
"""

from collections.abc import Callable, Iterable

from chaos import lease
from chaos.cluster import TROUBLE, Cluster
from chaos.journal import Journal, Undo
from chaos.mender import Mender
from contract.clock import Clock
from contract.topology import CLUSTER_KINDS, Topology

BY = "restore"


def restore(
    journal: Journal, topology: Topology | None, clock: Clock, within_s: float, say: Callable[[str], None]
) -> int:
    """How many open faults could not be mended, or not be looked for."""
    unreadable: list[str] = []
    records = journal.records(unreadable.append)
    for words in unreadable:
        say(f"cannot be read, and so not be mended: {words}")
    left = len(unreadable)
    seen = set()
    for undo in records:
        seen.add(undo.key)
        done = Mender(undo, BY, clock, say).mend(within_s)
        left += not done
        if done:
            journal.close(undo)
    if topology is not None and topology.cluster is not None:
        cluster = Cluster(topology.kubeconfig)
        try:
            for undo in held(cluster, namespaces_of(topology), say):
                if undo.key not in seen:
                    seen.add(undo.key)
                    left += not Mender(undo, BY, clock, say, cluster).mend(within_s)
        except TROUBLE as e:
            say(f"the Leases cannot be read: {type(e).__name__}: {e}")
            left += 1
    if not seen and not left:
        say("nothing is open")
    return left


def namespaces_of(topology: Topology) -> list[str]:
    """Where the Leases of its targets lie."""
    handles = [topology.gateway.handles, *(t.handles for t in topology.tiers)]
    return sorted(
        {
            lease.namespace_of(kind, getattr(h, kind))
            for h in handles
            for kind in CLUSTER_KINDS
            if getattr(h, kind) is not None
        }
    )


def held(cluster: Cluster, namespaces: Iterable[str], say: Callable[[str], None]) -> Iterable[Undo]:
    """The undo records that the Leases of these namespaces carry. Raises TROUBLE."""
    for namespace in namespaces:
        for found in cluster.leases(namespace, lease.LABEL):
            try:
                yield lease.undo_in(found)
            except ValueError as e:
                say(f"{namespace}: {e}; left alone")

"""What must hold before anything is touched."""

from chaos.cluster import TROUBLE, Cluster
from contract.refusal import Refusal
from contract.topology import Topology


def cluster_of(topology: Topology) -> tuple[Cluster, str]:
    """The topology's cluster, and its uid. Raises Refusal."""
    cluster = Cluster(topology.kubeconfig)
    try:
        uid, embedded = cluster.identity()
    except TROUBLE as e:
        raise Refusal(f"the cluster does not answer: {type(e).__name__}: {e}") from None
    if uid != topology.cluster:
        raise Refusal(
            f"kubeconfig {topology.kubeconfig or '(default)'} leads to the cluster {uid}, "
            f"and the topology names {topology.cluster}; chaos touches that one and no other"
        )
    if not embedded:
        raise Refusal(
            "this is no embedded cluster; chaos takes hold of none other yet, because nothing would mend "
            "if its process were killed: there is neither a guardian nor a dead-man"
        )
    return cluster, uid

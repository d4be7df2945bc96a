"""What must hold before anything is touched: the right cluster, the rights to restore, and something that restores when
every process of ours is gone."""

from dataclasses import dataclass

from chaos.errors import CannotInject
from chaos.fault import Deadman, Fault
from chaos.kube.cluster import API_ERRORS, Cluster, error_text
from chaos.target import Handle
from chaos.undo import lease, reaper
from contract.refusal import Refusal
from contract.topology import Topology


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run stands on."""

    cluster: Cluster | None  # None: the topology names none
    uid: str | None
    embedded_pid: int | None  # of the embedded stack; None: it is no embedded one
    without_reaper: bool = False  # the operator says so

    @property
    def embedded(self) -> bool:
        return self.embedded_pid is not None


def ground_of(topology: Topology, without_reaper: bool) -> Ground:
    """The topology's cluster, looked at. Raises Refusal."""
    if topology.cluster is None:
        return Ground(None, None, None, without_reaper)
    cluster = Cluster(topology.kubeconfig)
    try:
        uid, _ = cluster.identity()
    except API_ERRORS as e:
        raise Refusal(f"the cluster does not let us in: {error_text(e)}") from None
    if uid != topology.cluster:
        raise Refusal(
            f"kubeconfig {topology.kubeconfig or '(default)'} leads to the cluster {uid}, "
            f"and the topology names {topology.cluster}; chaos touches that one and no other"
        )
    return Ground(cluster, uid, cluster.embedded_pid, without_reaper)


def check(
    fault: Fault, handle: Handle, unprotected: bool, ground: Ground, deadline: float, now: float
) -> None:
    """Raises CannotInject with all that is missing, and API_ERRORS."""
    # Before the rights: a fresh credential may be taken up there, and it is its rights that count.
    missing = against(fault, handle, unprotected, ground, deadline, now)
    if handle.on_cluster and ground.cluster:
        rights = refused(fault, handle, ground.cluster)
        missing += [f"the right to {right} is missing" for right in rights]
    if missing:
        raise CannotInject("; ".join(missing))


def against(
    fault: Fault, handle: Handle, unprotected: bool, ground: Ground, deadline: float, now: float
) -> list[str]:
    """Why nothing is injected, besides rights that are missing; empty: nothing is against it. Raises API_ERRORS."""
    cluster = ground.cluster if handle.on_cluster else None
    off = misdated(cluster, now) if cluster else []  # first, while `now` is now
    ended = outlived(cluster, deadline) if cluster else []
    return unguarded(fault, handle, unprotected, ground, now) + off + ended


def misdated(cluster: Cluster, now: float) -> list[str]:
    """Whether this machine's clock is not the cluster's."""
    ahead_s = cluster.clock_ahead_s(now)
    if ahead_s is None or abs(ahead_s) <= reaper.CLOCKS_AGREE_S:
        return []
    return [
        f"this machine's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the API server's: "
        "who restores by the Lease would come too late or too early; set it right"
    ]


def outlived(cluster: Cluster, deadline: float) -> list[str]:
    """Whether the credential ends before a fault's deadline, and nobody has written a better one into the kubeconfig."""
    ends_at = cluster.credential_ends_at()
    if ends_at is not None and ends_at < deadline:
        cluster.renew_credential()
        ends_at = cluster.credential_ends_at()
    if ends_at is None or ends_at >= deadline:
        return []
    return [
        f"the credential of the kubeconfig ends {deadline - ends_at:.0f} s before the fault's deadline, and nothing could be "
        "restored from then on: give one that lasts longer, or that is renewed (a tokenFile, an exec plugin)"
    ]


def unguarded(fault: Fault, handle: Handle, unprotected: bool, ground: Ground, now: float) -> list[str]:
    """Why nothing would restore if every process of ours were killed; empty: something would. Raises API_ERRORS."""
    if ground.embedded or unprotected:
        return []  # an embedded stack goes down with its faults
    if fault.deadman is Deadman.GUARDIAN:
        return [
            f"nothing would restore {handle} if every process of ours were killed: give it a dead-man, or say "
            "unprotected: true among its handles"
        ]
    if fault.deadman is Deadman.REAPER and not ground.without_reaper:
        assert ground.cluster is not None
        why = reaper.missing_heartbeat(ground.cluster, lease.namespace_of(handle.kind, handle.name), now)
        return [f"{why}; or say --without-reaper"] if why else []
    return []


def refused(fault: Fault, handle: Handle, cluster: Cluster) -> list[str]:
    """The rights that are not held, in words. Raises API_ERRORS."""
    wanted = [*lease.rights(handle.kind, handle.name), *fault.rights()]
    return [str(r) for r in wanted if not cluster.allows(r.verb, r.group, r.resource, r.namespace, r.name)]

"""Requirements checked before anything is touched: the right cluster, the rights to restore, and a component that restores
after every chaos process was killed."""

from dataclasses import dataclass

from chaos.errors import CannotInject
from chaos.fault import Deadman, Fault
from chaos.kube.cluster import API_ERRORS, Cluster, api_error_text
from chaos.target import Handle
from chaos.undo import lease, reaper, signature
from chaos.undo.signature import Keys
from contract.refusal import Refusal
from contract.topology import Topology


@dataclass(frozen=True, slots=True)
class Ground:
    """The cluster and the stack of a run."""

    cluster: Cluster | None  # None: the topology has no cluster
    uid: str | None
    embedded_pid: int | None  # of the embedded stack; None: not an embedded stack
    without_reaper: bool = False  # by the operator's option

    @property
    def embedded(self) -> bool:
        return self.embedded_pid is not None


def ground_of(topology: Topology, without_reaper: bool) -> Ground:
    """Connect to the topology's cluster and check its identity. Raises Refusal."""
    if topology.cluster is None:
        return Ground(None, None, None, without_reaper)
    cluster = Cluster(topology.kubeconfig)
    try:
        uid, _ = cluster.identity()
    except API_ERRORS as e:
        raise Refusal(f"cannot access the cluster: {api_error_text(e)}") from None
    if uid != topology.cluster:
        raise Refusal(
            f"kubeconfig {topology.kubeconfig or '(default)'} points to cluster {uid}, "
            f"but the topology names {topology.cluster}; chaos touches only that cluster"
        )
    return Ground(cluster, uid, cluster.embedded_pid, without_reaper)


def check(
    fault: Fault, handle: Handle, unprotected: bool, ground: Ground, deadline: float, now: float
) -> None:
    """Raises CannotInject with every requirement that is not met, and API_ERRORS."""
    # Before the rights: this may load a fresh credential, and its rights are the ones that count.
    missing = objections(fault, handle, unprotected, ground, deadline, now)
    if handle.on_cluster and ground.cluster:
        rights = refused(fault, handle, ground.cluster)
        missing += [f"the right to {right} is missing" for right in rights]
    if missing:
        raise CannotInject("; ".join(missing))


def objections(
    fault: Fault, handle: Handle, unprotected: bool, ground: Ground, deadline: float, now: float
) -> list[str]:
    """Why no fault is injected, besides missing rights; empty: no reason. Raises API_ERRORS."""
    cluster = ground.cluster if handle.on_cluster else None
    skew = clock_skew(cluster, now) if cluster else []  # first, while `now` is current
    expired = expiry(cluster, deadline) if cluster else []
    weak = keys_of(handle, cluster).weak() if cluster else None
    return no_deadman(fault, handle, unprotected, ground, now) + skew + expired + ([weak] if weak else [])


def keys_of(handle: Handle, cluster: Cluster) -> Keys:
    """The keys that sign the record of a cluster's target. Raises API_ERRORS."""
    return signature.read(cluster, lease.namespace_of(handle.kind, handle.name))


def clock_skew(cluster: Cluster, now: float) -> list[str]:
    """Whether this machine's clock differs from the cluster's by more than the reaper tolerates."""
    ahead_s = cluster.clock_ahead_s(now)
    if ahead_s is None or abs(ahead_s) <= reaper.CLOCKS_AGREE_S:
        return []
    return [
        f"this machine's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the API server's: "
        "a restore by the Lease would come too early or too late; correct the clock"
    ]


def expiry(cluster: Cluster, deadline: float) -> list[str]:
    """Whether the credential expires before a fault's deadline, and the kubeconfig has no newer one."""
    ends_at = cluster.credential_ends_at()
    if ends_at is not None and ends_at < deadline:
        cluster.renew_credential()
        ends_at = cluster.credential_ends_at()
    if ends_at is None or ends_at >= deadline:
        return []
    return [
        f"the credential of the kubeconfig expires {deadline - ends_at:.0f} s before the fault's deadline, and nothing could be "
        "restored after that: use one that lasts longer or is renewed (a tokenFile, an exec plugin)"
    ]


def no_deadman(fault: Fault, handle: Handle, unprotected: bool, ground: Ground, now: float) -> list[str]:
    """Why nothing would restore after every chaos process was killed; empty: something would. Raises API_ERRORS."""
    if ground.embedded or unprotected:
        return []  # an embedded stack ends together with its faults
    if fault.deadman is Deadman.GUARDIAN:
        return [
            f"nothing would restore {handle} if every chaos process were killed: give it a dead-man, or set "
            "unprotected: true in its handles"
        ]
    if fault.deadman is Deadman.REAPER and not ground.without_reaper:
        assert ground.cluster is not None
        why = reaper.missing_heartbeat(ground.cluster, lease.namespace_of(handle.kind, handle.name), now)
        return [f"{why}; or pass --without-reaper"] if why else []
    return []


def refused(fault: Fault, handle: Handle, cluster: Cluster) -> list[str]:
    """The missing rights, as text. Raises API_ERRORS."""
    needed = [*lease.rights(handle.kind, handle.name), *fault.rights()]
    return [str(r) for r in needed if not cluster.allows(r.verb, r.group, r.resource, r.namespace, r.name)]

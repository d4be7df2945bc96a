"""Which resources the server speaks, with which verbs: the one table that routing, discovery and rights read.

What is not here is not spoken: it is answered as an API server answers for an API that it does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, field

READ = ("get", "list", "watch")
WHOLE = ("create", "delete", "get", "list", "patch", "update", "watch")
SCALE = ("get", "patch", "update")


@dataclass(frozen=True)
class Resource:
    """One resource of one group, and what may be done with it."""

    group: str
    version: str
    plural: str
    kind: str
    verbs: tuple[str, ...]
    short: tuple[str, ...] = ()
    namespaced: bool = True
    categories: tuple[str, ...] = ()
    subresources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    has_generation: bool = False
    unconditional_update: bool = True
    create_on_update: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()


RESOURCES = (
    Resource("", "v1", "namespaces", "Namespace", ("create", *READ), ("ns",), namespaced=False),
    Resource(
        "",
        "v1",
        "pods",
        "Pod",
        ("delete", *READ),
        ("po",),
        categories=("all",),
        subresources={"status": ("get", "patch")},
        has_generation=True,
    ),
    Resource("", "v1", "services", "Service", WHOLE, ("svc",), categories=("all",)),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", WHOLE, ("sa",)),
    Resource(
        "apps",
        "v1",
        "deployments",
        "Deployment",
        WHOLE,
        ("deploy",),
        categories=("all",),
        subresources={"scale": SCALE, "status": ("get",)},
        has_generation=True,
    ),
    Resource(
        "apps",
        "v1",
        "statefulsets",
        "StatefulSet",
        WHOLE,
        ("sts",),
        categories=("all",),
        subresources={"scale": SCALE, "status": ("get",)},
        has_generation=True,
    ),
    Resource(
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        ("create",),
        namespaced=False,
    ),
    Resource(
        "coordination.k8s.io",
        "v1",
        "leases",
        "Lease",
        WHOLE,
        # As etcd's registry has it for Leases: an update must name the version that it replaces,
        # and an update of what is gone creates.
        unconditional_update=False,
        create_on_update=True,
    ),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", READ, has_generation=True),
)

BY_PATH = {(r.group, r.version, r.plural): r for r in RESOURCES}
BY_KIND = {(r.api_version, r.kind): r for r in RESOURCES}
GROUP_VERSIONS = {(r.group, r.version) for r in RESOURCES}

NAMESPACES = BY_PATH["", "v1", "namespaces"]
PODS = BY_PATH["", "v1", "pods"]
SERVICES = BY_PATH["", "v1", "services"]
DEPLOYMENTS = BY_PATH["apps", "v1", "deployments"]
STATEFULSETS = BY_PATH["apps", "v1", "statefulsets"]
REVIEWS = BY_PATH["authorization.k8s.io", "v1", "selfsubjectaccessreviews"]
LEASES = BY_PATH["coordination.k8s.io", "v1", "leases"]
ENDPOINTSLICES = BY_PATH["discovery.k8s.io", "v1", "endpointslices"]
WORKLOADS = (DEPLOYMENTS, STATEFULSETS)

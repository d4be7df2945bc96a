"""The resources that the server supports, with their verbs: the table that routing and discovery read.

A request for any other resource gets the answer of an API server without that API.
"""

from __future__ import annotations

from dataclasses import dataclass, field

READ = ("get", "list", "watch")
WHOLE = ("create", "delete", "get", "list", "patch", "update", "watch")
SCALE = ("get", "patch", "update")


@dataclass(frozen=True)
class Resource:
    """One resource of one group, and its verbs."""

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
    # Defined by a CustomResourceDefinition: its items keep their kind, and there is no strategic merge.
    custom: bool = False
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
        subresources={"eviction": ("create",), "status": ("get", "patch")},
        has_generation=True,
    ),
    Resource(
        "",
        "v1",
        "nodes",
        "Node",
        ("create", "get", "list", "patch", "update", "watch"),
        ("no",),
        namespaced=False,
        subresources={"status": ("get", "patch")},
    ),
    Resource("", "v1", "services", "Service", WHOLE, ("svc",), categories=("all",)),
    Resource("", "v1", "secrets", "Secret", WHOLE),
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
    # Created by a Deployment's controller; no client writes it.
    Resource(
        "apps", "v1", "replicasets", "ReplicaSet", READ, ("rs",), categories=("all",), has_generation=True
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
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        WHOLE,
        ("hpa",),
        categories=("all",),
        subresources={"status": ("get", "patch")},
    ),
    Resource(
        "networking.k8s.io",
        "v1",
        "networkpolicies",
        "NetworkPolicy",
        WHOLE,
        ("netpol",),
        has_generation=True,
    ),
    Resource(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        WHOLE,
        ("pdb",),
        subresources={"status": ("get",)},
        has_generation=True,
    ),
    Resource(
        "coordination.k8s.io",
        "v1",
        "leases",
        "Lease",
        WHOLE,
        # As the server's registry does for Leases: an update must name the version that it replaces,
        # and an update of a missing one creates it.
        unconditional_update=False,
        create_on_update=True,
    ),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", READ, has_generation=True),
)

# With KEDA installed; only in a Cluster(keda=True).
SCALED_OBJECTS = Resource(
    "keda.sh",
    "v1alpha1",
    "scaledobjects",
    "ScaledObject",
    WHOLE,
    ("so",),
    subresources={"status": ("get", "patch")},
    has_generation=True,
    custom=True,
)

# With KServe installed; only in a Cluster(kserve=True).
INFERENCE_SERVICES = Resource(
    "serving.kserve.io",
    "v1beta1",
    "inferenceservices",
    "InferenceService",
    WHOLE,
    ("isvc",),
    categories=("all",),
    subresources={"status": ("get", "patch")},
    has_generation=True,
    custom=True,
)


class Supported:
    """The resources that one cluster supports, with indexes."""

    def __init__(self, resources: tuple[Resource, ...]) -> None:
        self.resources = resources
        self.by_path = {(r.group, r.version, r.plural): r for r in resources}
        self.by_kind = {(r.api_version, r.kind): r for r in resources}
        self.group_versions = {(r.group, r.version) for r in resources}


ALWAYS = Supported(RESOURCES)


def supported(keda: bool, kserve: bool) -> Supported:
    """The resources of a cluster with these installed."""
    return Supported(RESOURCES + (SCALED_OBJECTS,) * keda + (INFERENCE_SERVICES,) * kserve)


NAMESPACES = ALWAYS.by_path["", "v1", "namespaces"]
NODES = ALWAYS.by_path["", "v1", "nodes"]
PODS = ALWAYS.by_path["", "v1", "pods"]
SERVICES = ALWAYS.by_path["", "v1", "services"]
DEPLOYMENTS = ALWAYS.by_path["apps", "v1", "deployments"]
REPLICASETS = ALWAYS.by_path["apps", "v1", "replicasets"]
STATEFULSETS = ALWAYS.by_path["apps", "v1", "statefulsets"]
REVIEWS = ALWAYS.by_path["authorization.k8s.io", "v1", "selfsubjectaccessreviews"]
AUTOSCALERS = ALWAYS.by_path["autoscaling", "v2", "horizontalpodautoscalers"]
LEASES = ALWAYS.by_path["coordination.k8s.io", "v1", "leases"]
ENDPOINTSLICES = ALWAYS.by_path["discovery.k8s.io", "v1", "endpointslices"]
NETWORKPOLICIES = ALWAYS.by_path["networking.k8s.io", "v1", "networkpolicies"]
BUDGETS = ALWAYS.by_path["policy", "v1", "poddisruptionbudgets"]
WORKLOADS = (DEPLOYMENTS, STATEFULSETS)

"""Scales a Deployment or a StatefulSet to zero replicas, and back to as many as there were.

Effective when no live Pods are left and the endpoints are empty: a Pod may take its whole
terminationGracePeriodSeconds, which is waited for as long as the step lasts. Restored when as many Pods are ready as were
before; a target of which none is ready is refused.
"""

from chaos.fault import NoOptions
from chaos.faults.scale_to import Options, ScaleTo
from chaos.kube.cluster import Cluster
from chaos.target import Target


class ScaleToZero(ScaleTo):
    options = NoOptions  # type: ignore[assignment]

    def __init__(self, cluster: Cluster | None, target: Target, options: NoOptions) -> None:
        super().__init__(cluster, target, Options(replicas=0))


FAULT = ScaleToZero

"""Scales a Deployment or a StatefulSet to zero replicas, and back to the original number.

Effective when no live Pods remain and the endpoints are empty: a Pod may take its whole terminationGracePeriodSeconds,
which is waited for as long as the step lasts. Restored when as many Pods are ready as before. Refused where no Pod is
ready.
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

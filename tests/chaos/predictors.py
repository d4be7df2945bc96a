"""A cluster with KServe and KEDA, and in it the predictor of an InferenceService whose Pods are tiny processes."""

from pathlib import Path
from typing import Any, Literal

from contract import topology
from contract.embedded import InferenceService
from contract.topology import Topology
from embedded import predictor
from embedded.apiserver.kserve import CLASS
from tests.chaos.small import Small, sleepers
from tests.embedded.recorded.stand import until

NAMESPACE, SERVICE, NAME = "llm", "llama-fp8", "llama-fp8-predictor"
HANDLE = f"{NAMESPACE}/{NAME}"
SERVICES = f"/apis/serving.kserve.io/v1beta1/namespaces/{NAMESPACE}/inferenceservices"


class Predictors(Small):
    """Use as a context manager."""

    fault = "scale_to_zero"  # see Stand

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **{"keda": True, "kserve": True} | settings)

    def __enter__(self) -> "Predictors":
        super().__enter__()
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        return self

    def serve(
        self, autoscaler_class: Literal["hpa", "keda", "external", "none"] | None = None, **more: Any
    ) -> None:
        """Recreate the InferenceService and its predictor; `more`: as in a topology's embedded: kserve:"""
        given = InferenceService(autoscaler_class=autoscaler_class, **more)
        owner = self.call(self.cluster.apply, predictor.service(HANDLE, given))
        made = sleepers(NAME, replicas=given.min_replicas)
        made["metadata"]["namespace"] = NAMESPACE
        self.apply(predictor.marked(made, owner))
        self.up_again()

    def up_again(self) -> None:
        until(lambda: (d := self.deployment()) and self._settled(d), "the predictor is up")

    def deployment(self) -> dict[str, Any]:
        found = self.admin.workload("deployment", NAMESPACE, NAME)
        assert found is not None
        return found

    def replicas(self) -> int:
        return int(self.deployment()["spec"]["replicas"])

    def living(self) -> list[dict[str, Any]]:
        return self.admin.pods(NAMESPACE, self.deployment()["spec"]["selector"])

    def gone(self) -> None:
        """Until its last Pod is gone: by then its controller has reconciled many times."""
        until(lambda: not self.living(), "the last Pod has gone")

    def scaled(self, replicas: int) -> None:
        def done() -> Any:
            found = self.admin.scale("deployment", NAMESPACE, NAME)
            assert found is not None
            return self.admin.set_scale("deployment", found, replicas, manager="kubectl")

        until(done, f"it is scaled to {replicas}")

    def annotate(self, autoscaler_class: str | None) -> None:
        """As `oc annotate --overwrite inferenceservice` does it."""
        patch = {"metadata": {"annotations": {CLASS: autoscaler_class}}}
        answer = self.request("PATCH", f"{SERVICES}/{SERVICE}", patch, "application/merge-patch+json")
        assert answer.status == 200
        until(
            lambda: self.deployment()["metadata"]["annotations"].get(CLASS) == autoscaler_class,
            "its controller has heard of it",
        )

    def autoscalers(self) -> list[str]:
        return [h["metadata"]["name"] for h in self.admin.autoscalers(NAMESPACE)]

    def topology(self) -> Topology:
        """One tier without a server that answers requests."""
        url = f"http://127.0.0.1:{self.port}"
        return topology.read_text(
            f"""
cluster: {self.admin.identity()[0]}
kubeconfig: {self.admin.kubeconfig}
gateway: {{url: "{url}", model: tiny}}
tiers:
  - {{name: vllm, match: {{group: tiny}}, handles: {{deployment: {HANDLE}}}}}
"""
        )

    @staticmethod
    def _settled(found: dict[str, Any]) -> bool:
        status, desired = found.get("status", {}), found["spec"]["replicas"]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return seen and status.get("readyReplicas", 0) == desired == status.get("updatedReplicas", 0)

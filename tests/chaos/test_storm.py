"""Continuous writes to a Deployment: its generation increases with each annotation, and its status never catches up."""

import pytest

from chaos import faults
from chaos.target import Handle
from embedded.apiserver.resources import DEPLOYMENTS
from tests.chaos.small import Small, effective, restored, sleepers
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until

ENGINE = Handle("deployment", "ml/engine")


class Storm:
    """Annotates the Deployment again whenever the status has caught up: the two generations are never seen equal."""

    def __init__(self, small: Small) -> None:
        self._store, self.written = small.cluster.store, 0

    def __call__(self, event) -> None:
        found = event.after
        if event.resource is not DEPLOYMENTS or event.type == "DELETED":
            return
        meta, status = found["metadata"], found.get("status", {})
        if status.get("observedGeneration") == meta["generation"]:
            self.written += 1
            annotations = {**(meta.get("annotations") or {}), "storm": str(self.written)}
            stormy = {**meta, "annotations": annotations, "generation": meta["generation"] + 1}
            self._store.put(DEPLOYMENTS, {**found, "metadata": stormy})


@pytest.mark.parametrize(
    ("name", "options"), [("scale_to_zero", {}), ("scale_to", {"replicas": 1}), ("scale_to", {"replicas": 4}), ("pod_kill", {})]
)  # fmt: skip
def test_under_a_storm_of_annotations_a_target_is_seen_to_be_effective_and_restored(tmp_path, name, options):
    with Small(tmp_path, sleepers(replicas=3)) as small:
        small.up("engine")
        fault = faults.make(name, small.admin, on(ENGINE), options)
        state = fault.snapshot()
        small.lag(0.05)  # also the interval of the annotations
        storm = Storm(small)
        calm = small.call(small.cluster.store.listen, storm)
        small.call(lambda: storm(_written(small)))
        fault.inject(state)
        effective(fault, state)
        fault.restore(state)
        assert restored(fault, state)["ready"] == 3
        now = small.admin.workload("deployment", "ml", "engine")
        assert now["status"]["observedGeneration"] < now["metadata"]["generation"]
        assert storm.written > 3
        small.call(calm)


def _written(small: Small):
    from embedded.apiserver.store import Event

    found = small.cluster.store.get(DEPLOYMENTS, "ml", "engine")
    return Event(0, "MODIFIED", DEPLOYMENTS, found, None)


@pytest.mark.parametrize("kind", ["deployment", "statefulset"])
def test_what_its_controller_has_not_yet_seen_is_not_taken_for_restored(tmp_path, kind):
    """All Pods are still ready: a controller that has observed neither write may still remove them."""
    kinds = {"deployment": "Deployment", "statefulset": "StatefulSet"}
    with Small(tmp_path, sleepers(replicas=2, kind=kinds[kind])) as small:
        small.up("engine", f"{kind}s")
        fault = faults.make("scale_to_zero", small.admin, on(Handle(kind, "ml/engine")), {})
        state = fault.snapshot()
        assert fault.restored(state)["ready"] == 2
        small.lag(3.0)
        fault.inject(state)
        fault.restore(state)
        assert len(small.pods("engine")) == 2
        assert fault.restored(state) is None
        small.lag(0.005)
        until(lambda: fault.restored(state), "its controller has seen it")

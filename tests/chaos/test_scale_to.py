"""scale_to on both kinds of workloads: what is refused, and which run or person has set the number."""

import pytest

from chaos import faults
from chaos.errors import CannotInject, Foreign, NotYet
from chaos.faults import scale_to
from chaos.target import Handle
from contract.refusal import Refusal
from contract.strict import validate
from tests.chaos.small import Small, effective, restored, sleepers
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until

KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet"}


@pytest.fixture(scope="module", params=KINDS)
def cluster(tmp_path_factory, request):
    """Three Pods, and a factory of drivers for their workload."""
    with Small(
        tmp_path_factory.mktemp("three"), sleepers("engine", replicas=3, kind=KINDS[request.param])
    ) as made:
        made.kind = request.param
        handle = Handle(request.param, "ml/engine")
        made.fault = lambda name, **options: faults.make(name, made.admin, on(handle), options)
        made.others = lambda replicas: until(
            lambda: made.admin.set_scale(
                request.param, made.admin.scale(request.param, "ml", "engine"), replicas, manager="kubectl"
            ),
            "another scales it",
        )
        made.replicas = lambda: made.admin.workload(request.param, "ml", "engine")["spec"].get("replicas")
        yield made


@pytest.fixture
def three(cluster):
    if cluster.replicas() != 3:
        cluster.others(3)
    cluster.up("engine", f"{cluster.kind}s")
    return cluster


@pytest.mark.parametrize(("replicas", "words"), [(3, "has 3 replicas already"), (-1, None), (None, None)])
def test_what_would_change_nothing_or_makes_no_sense_is_refused(three, replicas, words):
    if words is not None:
        with pytest.raises(CannotInject, match=words):
            three.fault("scale_to", replicas=replicas).snapshot()
        return
    given = {} if replicas is None else {"replicas": replicas}
    with pytest.raises(Refusal, match="with: replicas"):
        validate(given, faults.driver("scale_to").options, "step 'a': with")


def test_what_changed_since_the_snapshot_is_not_injected_and_a_third_number_is_foreign(three):
    fault = three.fault("scale_to", replicas=1)
    state = fault.snapshot()
    three.others(2)
    with pytest.raises(CannotInject, match="was scaled to 2 by someone else after the snapshot"):
        fault.inject(state)
    with pytest.raises(Foreign, match="was scaled to 2 by someone else and is left alone"):
        fault.restore(state)
    assert three.replicas() == 2


def test_what_is_not_there_is_refused(three):
    with pytest.raises(CannotInject, match="there is no deployment ml/none"):
        faults.make("scale_to_zero", three.admin, on(Handle("deployment", "ml/none")), {}).snapshot()


@pytest.fixture
def after(three):
    """The controller's own driver, after its restore; and the record."""
    fault = three.fault("scale_to_zero")
    state = fault.snapshot()
    fault.inject(state)
    effective(fault, state)
    fault.restore(state)
    return fault, state


def test_a_scale_of_a_restored_target_is_reported_with_the_original_number(three, after):
    fault, state = after
    three.others(2)
    assert restored(fault, state)["fewer"] == "2 replicas are desired now, 3 before the fault"
    three.others(0)
    words = r"\(replicas before the fault: 3\) was scaled to 0 by someone else since it was restored"
    with pytest.raises(NotYet, match=words):
        fault.restored(state)


def test_a_target_that_is_made_anew_while_its_restore_is_verified_is_left_alone(three, after):
    fault, state = after
    kind = three.kind
    three.delete(f"/apis/apps/v1/namespaces/ml/{kind}s/engine")
    three.apply(sleepers("engine", replicas=2, kind=KINDS[kind]))
    with pytest.raises(Foreign, match="was re-created; the new one has 2 replicas and is left alone"):
        fault.restored(state)


def test_a_restore_that_meets_only_conflicts_is_reported_and_not_tried_forever(three, monkeypatch):
    """The caller tries again until its own deadline, and reports the reason."""
    monkeypatch.setattr(scale_to, "CONFLICTS_S", 0.0)
    fault = three.fault("scale_to_zero")
    state = fault.snapshot()
    fault.inject(state)
    monkeypatch.setattr(three.admin, "set_scale", lambda *args, **more: None)
    with pytest.raises(NotYet, match="is being changed by someone else: only conflicts"):
        fault.restore(state)

"""scale_to on both kinds of workloads: what is refused, and whose number it is."""

import pytest

from chaos import faults
from chaos.fault import CannotInject, Foreign, Handle
from contract.refusal import Refusal
from contract.strict import validate
from tests.chaos.small import Small, sleepers
from tests.embedded.recorded.stand import until

KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet"}


@pytest.fixture(scope="module", params=KINDS)
def cluster(tmp_path_factory, request):
    """Three Pods, and what makes a driver for their workload anew."""
    with Small(
        tmp_path_factory.mktemp("three"), sleepers("engine", replicas=3, kind=KINDS[request.param])
    ) as made:
        made.up("engine", request.param + "s")
        handle = Handle(request.param, "ml/engine")
        made.fault = lambda name, **options: faults.make(name, made.admin, handle, options)
        made.others = lambda replicas: until(
            lambda: made.admin.set_scale(
                request.param, made.admin.scale(request.param, "ml", "engine"), replicas, manager="kubectl"
            ),
            "another scales it",
        )
        made.wanted = lambda: made.admin.workload(request.param, "ml", "engine")["spec"].get("replicas")
        yield made


@pytest.fixture
def three(cluster):
    yield cluster
    if cluster.wanted() != 3:
        cluster.others(3)


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
    with pytest.raises(CannotInject, match="was scaled to 2 by someone else since it was looked at"):
        fault.inject(state)
    with pytest.raises(Foreign, match="was scaled to 2 by someone else and is left alone"):
        fault.mend(state)
    assert three.wanted() == 2


def test_what_is_not_there_is_refused(three):
    with pytest.raises(CannotInject, match="there is no deployment ml/none"):
        faults.make("scale_to_zero", three.admin, Handle("deployment", "ml/none"), {}).snapshot()

"""Which writer has set a number of replicas: what a real API server shows after our writes, admission's and others'.

After a scale to zero the replicas have no manager, and no later scale gets one, from any client.
"""

import itertools
import json
from dataclasses import dataclass

import pytest

from chaos import faults
from chaos.errors import Altered, CannotInject, Foreign, NotYet
from chaos.kube.cluster import API_ERRORS
from chaos.target import Handle
from embedded.apiserver import admission
from tests.chaos.small import Small, sleepers
from tests.chaos.targets import on

MERGE = "application/merge-patch+json"
KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet"}
OURS, ANOTHERS = "ours", "another's"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = [sleepers(name, replicas=3, kind=kind) for name, kind in KINDS.items()]
    with Small(tmp_path_factory.mktemp("whose"), *made) as small:
        yield small


class Target:
    """One workload of three replicas, and its writers. `floor` and `ceiling` are the policies that act on a scale."""

    def __init__(self, small: Small, kind: str) -> None:
        self.small, self.kind, self.handle = small, kind, Handle(kind, f"ml/{kind}")
        self.path = f"/apis/apps/v1/namespaces/ml/{kind}s/{kind}"
        self.policies()

    def policies(self, floor: int = 0, ceiling: int = 9, side_effects: bool = False) -> None:
        rule = admission.replicas(
            "bounds", lambda n: min(max(n, floor), ceiling), side_effects, f"{self.kind}s/scale"
        )
        self.small.cluster.writes.admission = [rule]

    def write(self, body, manager: str, sub: str = "") -> None:
        answer = self.small.request("PATCH", f"{self.path}{sub}?fieldManager={manager}", body, MERGE)
        assert answer.status == 200, answer.body

    def scale(self, replicas: int, manager: str = "kubectl") -> None:
        self.write({"spec": {"replicas": replicas}}, manager, "/scale")

    def edit(self, replicas: int) -> None:
        self.write({"spec": {"replicas": replicas}}, "kubectl-edit")

    def annotate(self, value: str = "v") -> None:
        self.write({"metadata": {"annotations": {"k": value}}}, "x")

    def fault(self, to: int):
        return faults.make("scale_to", self.small.admin, on(self.handle), {"replicas": to})

    @property
    def there(self):
        return self.small.admin.workload(self.kind, "ml", self.kind)

    @property
    def replicas(self) -> int:
        return self.there["spec"]["replicas"]

    @property
    def owners(self) -> set[str]:
        entries = self.there["metadata"]["managedFields"]
        return {e["manager"] for e in entries if "f:replicas" in e["fieldsV1"].get("f:spec", {})}

    def back(self, owned: bool) -> None:
        """Three replicas, managed by a person; or by no manager, after an earlier zero."""
        self.policies()
        self.edit(2)
        self.edit(3)
        if not owned:
            self.scale(0)
            self.scale(3)
        assert self.owners == ({"kubectl-edit"} if owned else set())
        self.small.up(self.kind, f"{self.kind}s")


@pytest.fixture(params=["deployment", pytest.param("statefulset", marks=pytest.mark.verify)])
def target(cluster, request):
    yield Target(cluster, request.param)
    cluster.cluster.writes.admission = []


@dataclass(frozen=True)
class Row:
    """`steps` come after our scale to `to`: (writer, value); `restore` is our own, in any process."""

    name: str
    to: int
    steps: tuple[tuple[str, int], ...]
    whose: str
    floor: int = 0
    ceiling: int = 9
    owned: bool = True
    stands: int = 0
    owner: tuple[str, ...] = ()


ROWS = [
    Row("0 became 1 by policy", 0, (), OURS, floor=1, stands=1),
    Row("0 became 1 by policy, then an annotation", 0, (("annotation", 0),), OURS, floor=1, stands=1),
    Row("0 became 1 by policy, which is taken away", 0, (("no policy", 0),), OURS, floor=1, stands=1),
    Row("0, then a person scales to 1", 0, (("scale", 1),), ANOTHERS, stands=1),
    Row("0, then a person edits the object to 1", 0, (("edit", 1),), ANOTHERS, stands=1, owner=("kubectl-edit",)),
    Row("0, then a person scales to 1, and an autoscaler to 2", 0, (("scale", 1), ("scale", 2)), ANOTHERS, stands=2),
    Row("0 became 1 by policy, then a person scales to 2", 0, (("scale", 2),), ANOTHERS, floor=1, stands=2),
    Row("1, then a person scales to 2", 1, (("scale", 2),), ANOTHERS, stands=2, owner=("kubectl",)),
    Row("1 became 2 by policy", 1, (), OURS, floor=2, stands=2, owner=("brownout",)),
    Row("1 became 2 by policy, no owner before", 1, (), OURS, floor=2, owned=False, stands=2),
    Row("1, no owner before, then a person scales to 2", 1, (("scale", 2),), ANOTHERS, owned=False, stands=2),
    Row("0, the restore became 2", 0, (("restore", 2),), OURS, ceiling=2, stands=2),
    Row("1, the restore became 2", 1, (("restore", 2),), OURS, ceiling=2, stands=2, owner=("brownout",)),
    Row("1, no owner before, the restore became 2", 1, (("restore", 2),), OURS, ceiling=2, owned=False, stands=2),
    Row("0, the restore became 2, then a person scales to 1", 0, (("restore", 2), ("scale", 1)), ANOTHERS, ceiling=2, stands=1),
    Row("1, the restore became 2, then a person scales to 1", 1, (("restore", 2), ("scale", 1)), ANOTHERS, ceiling=2, stands=1,
        owner=("kubectl",)),
]  # fmt: skip


def injected(target: Target, one, row: Row):
    """The state of the record, after our write."""
    target.back(row.owned)
    state = json.loads(json.dumps(one.snapshot()))
    target.policies(row.floor, row.ceiling)
    if row.floor > row.to:
        with pytest.raises(CannotInject, match="the cluster set"):
            one.inject(state)
    else:
        one.inject(state)
    return state


def step(target: Target, restorer, state, who: str, value: int) -> None:
    match who:
        case "annotation":
            target.annotate(state["uid"] + str(target.there["metadata"]["generation"]))
        case "no policy":
            target.policies()
        case "scale":
            target.scale(value)
        case "edit":
            target.edit(value)
        case "restore":
            with pytest.raises(Altered, match=f"3 replicas were requested, the cluster set {value}"):
                restorer.restore(state)


@pytest.mark.parametrize("by", ["its controller's process", "another process"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_ours_is_restored_and_what_is_anothers_is_left_alone(target, row, by):
    one = target.fault(row.to)
    state = injected(target, one, row)
    same = by == "its controller's process"
    for who, value in row.steps:
        step(target, one if same else target.fault(row.to), state, who, value)
    assert (target.replicas, target.owners) == (row.stands, set(row.owner))
    restorer = one if same else target.fault(row.to)
    if row.whose == ANOTHERS:
        with pytest.raises(Foreign, match=f"was scaled to {row.stands} by someone else and is left alone"):
            restorer.restore(state)
        assert target.replicas == row.stands
        return
    with pytest.raises(NotYet):
        restorer.restored(state)
    if row.ceiling < 3:
        with pytest.raises(Altered):
            restorer.restore(state)
        with pytest.raises(NotYet, match="the cluster set 2"):
            (one if same else target.fault(row.to)).restored(state)
        target.policies()
    restorer.restore(state)
    assert target.replicas == 3


@pytest.mark.parametrize("row", [r for r in ROWS if r.steps and r.floor == 0 and r.ceiling == 9], ids=lambda row: row.name)  # fmt: skip
def test_the_watch_of_the_controller_sees_at_once_what_another_makes(target, row):
    one = target.fault(row.to)
    state = injected(target, one, row)
    for who, value in row.steps:
        step(target, one, state, who, value)
    assert "by someone else" in one.moved(state, lambda: False)


def test_the_watch_of_the_controller_sees_an_annotation_and_goes_on(target):
    one = target.fault(1)
    target.back(owned=True)
    state = one.snapshot()
    one.inject(state)
    target.annotate("a")
    target.annotate("b")
    looks = itertools.count()
    assert one.moved(state, lambda: next(looks) > 3) is None
    one.restore(state)
    assert target.replicas == 3


@pytest.mark.parametrize("owned", [True, False], ids=["an owner before", "no owner before"])
def test_where_no_dry_run_is_made_the_first_change_of_the_spec_since_the_snapshot_is_ours(target, owned):
    one = target.fault(1)
    target.back(owned)
    state = one.snapshot()
    target.policies(floor=2, side_effects=True)
    with pytest.raises(CannotInject, match="the cluster set 2"):
        one.inject(state)
    target.fault(1).restore(state)
    assert target.replicas == 3


def test_a_dry_run_that_is_not_answered_decides_nothing(target, monkeypatch):
    one = target.fault(0)
    target.back(owned=True)
    state = one.snapshot()
    target.policies(floor=1)
    with pytest.raises(CannotInject):
        one.inject(state)
    target.edit(2)
    target.scale(0)  # removes the manager again, and the generation is not ours any more
    other = target.fault(0)

    def silent(*args):
        raise API_ERRORS[1]("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(target.small.admin, "try_scale", silent)
        with pytest.raises(API_ERRORS[1], match="no answer"):
            other.restore(state)
    assert target.replicas == 1
    other.restore(state)
    assert target.replicas == 3


def test_a_lost_answer_of_ours_is_not_taken_for_anothers(target, monkeypatch):
    one = target.fault(0)
    target.back(owned=True)
    state = one.snapshot()
    really = target.small.admin.set_scale

    def lost(*args, **more):
        really(*args, **more)
        raise API_ERRORS[1]("the answer was lost")

    with monkeypatch.context() as patched:
        patched.setattr(target.small.admin, "set_scale", lost)
        with pytest.raises(API_ERRORS[1]):
            one.inject(state)
    one.inject(state)
    target.scale(1)
    with pytest.raises(Foreign):
        one.restore(state)


def test_what_another_scaled_to_before_our_inject_is_not_taken_for_ours(target):
    one = target.fault(0)
    target.back(owned=False)
    state = one.snapshot()
    target.scale(0)
    with pytest.raises(CannotInject, match="was scaled to 0 by someone else after the snapshot"):
        one.inject(state)
    with pytest.raises(Foreign):
        one.restore(state)


def test_past_the_deadline_the_controller_does_not_take_a_deputys_restore_for_anothers(target):
    one = target.fault(0)
    target.back(owned=True)
    state = one.snapshot()
    one.arm(state, 0.0)
    one.inject(state)
    target.policies(ceiling=2)
    with pytest.raises(Altered):
        target.fault(0).restore(state)
    with pytest.raises(Altered):
        one.restore(state)
    target.policies()
    one.restore(state)
    assert target.replicas == 3


def test_an_inject_arrives_in_a_storm_of_annotations(target, monkeypatch):
    """Many conflicts in a row."""
    one = target.fault(0)
    target.back(owned=True)
    state = one.snapshot()
    really, left = target.small.admin.set_scale, [30]

    def stormy(*args, **more):
        left[0] -= 1
        if left[0] > 0:
            target.annotate(str(left[0]))
        return really(*args, **more)

    monkeypatch.setattr(target.small.admin, "set_scale", stormy)
    one.inject(state)
    assert target.replicas == 0


def test_a_record_of_before_the_generation_was_kept_is_restored(target):
    one = target.fault(0)
    target.back(owned=True)
    state = one.snapshot()
    assert state["generation"] == target.there["metadata"]["generation"]
    one.inject(state)
    target.fault(0).restore({key: value for key, value in state.items() if key != "generation"})
    assert target.replicas == 3

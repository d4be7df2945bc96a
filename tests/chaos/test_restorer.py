"""The restore, with any change of the target, of its record and of the API meanwhile. The tests do not wait in real time."""

from dataclasses import replace

import pytest

from chaos.errors import Altered, Foreign, NotYet
from chaos.undo import restorer
from chaos.undo.claim import Held
from chaos.undo.journal import Undo
from chaos.undo.restorer import How, Restorer
from tests.chaos.passing import Passing
from tests.chaos.records import UNDO

UNDO = replace(UNDO, deadline=1180.0)


class World:
    """A target that a fault took away, its claim, and its answers."""

    slow = False
    missing = "0 of 1 Pods ready"

    def __init__(self) -> None:
        self.time = Passing()
        self.up = self.ready = self.answering = False
        self.record = "ours"  # none, another's
        self.since: float | None = UNDO.deadline + 1  # when another run took the claim
        self.journal = True
        self.loads_s = 0.0
        self.foreign: str | None = None
        self.errors: list[Exception] = []  # the next calls to the API
        self.unknown: str | None = None
        self.steps, self.arrives_at = (
            0,
            0,
        )  # a delayed inject arrives at the n-th call
        self.writes: list[str] = []
        self.reports: list[tuple[str, dict | None]] = []
        self.records: list[Undo] = []  # the rewritten ones

    # The fault.

    def restore(self, state) -> None:
        self._step()
        if self.foreign:
            raise Foreign(self.foreign)
        if not self.up:
            self.writes.append("restore")
            self.up = True
            self.time.at(self.loads_s, self._loaded)

    def restored(self, state):
        self._step()
        return {"ready": 1} if self.up and self.ready else None

    def disarm(self, state) -> None:
        self.writes.append("disarm")

    # The claim.

    def stands(self) -> bool:
        self._step()
        if self.record == "another's":
            raise Held("held by another now; not touched", self.since)
        return self.record == "ours"

    def closed(self) -> bool:
        return not self.journal

    def take_again(self, now: float) -> None:
        self.writes.append("claim")
        self.record = "ours"

    def rewrite(self, fresh) -> None:
        self.records.append(fresh)

    def release(self) -> None:
        self.writes.append("release")
        self.record = "none"

    # The question.

    def look(self):
        if self.unknown is not None:
            return {"answered": "unknown", "unanswered": self.unknown}
        if not self.answering:
            raise NotYet("vllm does not answer: refused")
        return {"answered": "yes"}

    def run(self, within_s: float = 900.0, unsure: bool = False, extended=None) -> restorer.End:
        return Restorer(
            UNDO, self, self, lambda within_s: self, self.time, self.time.wait,
            lambda stage, detail: self.reports.append((stage, detail)), unsure, extended,
        ).restore(self.time.now() + within_s)  # fmt: skip

    def _loaded(self) -> None:
        self.ready = self.answering = True

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.arrives_at:
            self.up = self.ready = False
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def world() -> World:
    return World()


def stages(world: World) -> list[str]:
    return [stage for stage, _ in world.reports]


def test_it_is_commanded_verified_by_an_answer_and_released(world):
    end = world.run()
    assert (end.how, end.words) == (How.VERIFIED, "restored (ready 1), verified by an answer")
    assert world.writes == ["restore", "disarm", "release"]
    assert world.reports == [("commanded", None), ("effective", {"ready": 1, "answered": "yes"})]


def test_an_engine_that_loads_for_ten_minutes_is_restored_with_its_progress_reported(world):
    world.loads_s = 600.0
    assert world.run().how is How.VERIFIED
    assert stages(world) == ["commanded", *["waiting"] * 10, "effective"]
    waited = [detail["waited_s"] for stage, detail in world.reports if stage == "waiting"]
    assert waited == pytest.approx([30 + 60 * n for n in range(10)], abs=5)
    assert all(
        detail["missing"] == "0 of 1 Pods ready" for stage, detail in world.reports if stage == "waiting"
    )
    assert world.time.now() == pytest.approx(1600, abs=1.5)


def test_a_process_that_runs_and_does_not_answer_is_not_restored(world):
    world.up = world.ready = True
    end = world.run(within_s=180.0)
    assert (end.how, end.words) == (How.OPEN, "restored, but not verified: vllm does not answer: refused")
    assert "release" not in world.writes
    assert world.record == "ours"


def test_where_no_request_can_be_sent_it_is_reported(world):
    world.unknown = "no topology is at hand"
    end = world.run()
    assert (end.how, end.words) == (
        How.VERIFIED,
        "restored (ready 1), answered: unknown: no topology is at hand",
    )
    assert world.reports[-1][1] == {
        "ready": 1,
        "answered": "unknown",
        "unanswered": "no topology is at hand",
    }


@pytest.mark.parametrize("unsure", [False, True], ids=["the controller", "in its place"])
def test_a_record_that_was_deleted_mid_fault_is_claimed_again_and_the_target_restored(world, unsure):
    world.record = "none"
    assert world.run(unsure=unsure).how is How.VERIFIED
    assert world.writes == ["claim", "restore", "disarm", "release"]
    assert world.up
    assert list(world.reports[0][1]) == ["claimed_again"]


@pytest.mark.parametrize("unsure", [False, True], ids=["the controller", "in its place"])
@pytest.mark.parametrize("up", [False, True])
def test_what_another_holds_is_not_touched(world, unsure, up):
    world.record, world.up = "another's", up
    assert world.run(unsure=unsure).how is How.HELD
    assert world.writes == []


@pytest.mark.parametrize("unsure", [False, True], ids=["the controller", "in its place"])
def test_a_run_that_replaced_a_deleted_record_is_waited_for(world, unsure):
    """The other run restores what it found, the state after our fault: only our record has the original."""
    world.record, world.since = "another's", UNDO.deadline - 1
    world.time.at(300.0, lambda: setattr(world, "record", "none"))
    assert world.run(unsure=unsure).how is How.VERIFIED
    assert world.writes == ["claim", "restore", "disarm", "release"]
    assert world.reports[0] == ("waiting", {"missing": "held by another now; not touched", "waited_s": 30.0})
    assert world.up


def test_where_that_one_does_not_give_it_back_the_record_stays_open(world):
    world.record, world.since = "another's", UNDO.deadline - 1
    end = world.run(within_s=300.0)
    assert (end.how, world.writes) == (How.OPEN, [])
    assert end.words == "could not be restored: held by another now; not touched"


@pytest.mark.parametrize(
    ("late_s", "journal", "how", "writes"),
    [
        (0.0, False, How.ELSEWHERE, []),
        (200.0, True, How.ELSEWHERE, []),
        (0.0, True, How.VERIFIED, ["claim", "disarm", "release"]),
    ],
    ids=["closed by one of ours", "past the deadline", "back by itself, and its record deleted"],
)
def test_what_is_back_is_not_written_where_another_may_have_restored_it(world, late_s, journal, how, writes):
    world.record, world.journal, world.up, world.ready, world.answering = "none", journal, True, True, True
    world.time.wait(late_s)
    assert world.run().how is how
    assert world.writes == writes


def test_an_inject_on_its_way_is_found_where_the_record_was_deleted_before_it_arrived(world):
    world.record, world.up, world.ready, world.answering = "none", True, True, True
    world.time.at(2.0, lambda: setattr(world, "up", False))
    assert world.run(unsure=True).how is How.VERIFIED
    assert world.writes == ["claim", "restore", "disarm", "release"]


@pytest.mark.parametrize("journal", [True, False])
def test_what_was_closed_by_one_of_ours_is_done_though_an_inject_might_have_been_on_its_way(world, journal):
    world.record, world.journal, world.up, world.ready, world.answering = "none", journal, True, True, True
    assert world.run(unsure=True).how is (How.VERIFIED if journal else How.ELSEWHERE)
    assert "restore" not in world.writes


@pytest.mark.parametrize("arrives_at", [None, *range(1, 16)])
def test_an_inject_that_arrives_at_any_step_is_put_right(world, arrives_at):
    world.up = world.ready = world.answering = True
    world.arrives_at = arrives_at or 0
    assert world.run(unsure=True).how is How.VERIFIED
    assert world.up
    assert world.writes[-2:] == ["disarm", "release"]
    assert stages(world)[:2] == ["commanded", "effective"]
    assert all((detail or {}).get("again") for stage, detail in world.reports[2:])


@pytest.mark.parametrize("error", [OSError("refused"), ValueError("a page"), ZeroDivisionError()])
def test_errors_of_the_world_and_mistakes_of_ours_delay_it_and_do_not_lose_it(world, error):
    world.errors = [error] * 12
    assert world.run().how is How.VERIFIED
    assert world.writes == ["restore", "disarm", "release"]


def test_what_does_not_end_stays_open_with_the_last_error(world):
    world.errors = [OSError("refused")] * 10_000
    end = world.run(within_s=60.0)
    assert (end.how, end.words) == (How.OPEN, "could not be restored: OSError: refused")
    assert world.time.now() <= 1060


def test_a_change_by_someone_else_is_left_alone_and_the_claim_released(world):
    world.foreign = "scaled to 2 by someone else"
    end = world.run()
    assert (end.how, end.words) == (How.LEFT_ALONE, "scaled to 2 by someone else")
    assert world.writes == ["disarm", "release"]


def test_the_deadline_moves_to_the_end_of_the_restore_once_it_was_commanded(world):
    world.loads_s = 600.0
    fresh = []
    world.run(extended=fresh.append)
    assert [undo.deadline for undo in world.records] == [1900.0]
    assert fresh == world.records


def test_a_deadline_that_is_late_enough_is_left(world):
    world.run(within_s=180.0, extended=lambda undo: None)
    assert world.records == []


def test_a_deadline_that_cannot_be_moved_costs_nothing(world, monkeypatch):
    world.loads_s = 60.0
    tries = []

    def rewrite(fresh):
        tries.append(world.time.now())
        raise ValueError("403: may not update Leases")

    world.rewrite = rewrite
    assert world.run(extended=lambda undo: None).how is How.VERIFIED
    assert len(tries) == 12  # not at every look


@pytest.mark.parametrize("after", ["foreign", "another's", "none"])
def test_what_others_decide_after_the_verified_restore_is_theirs_and_the_restore_stands(world, after):
    world.up = world.ready = world.answering = True
    change = {
        "foreign": ("foreign", "scaled to 2"),
        "another's": ("record", "another's"),
        "none": ("record", "none"),
    }
    world.journal = after != "none"
    world.time.at(3.0, lambda: setattr(world, *change[after]))
    assert world.run(unsure=True).how is How.VERIFIED
    assert stages(world) == ["commanded", "effective"]


def test_an_api_that_does_not_answer_is_reported_while_it_is_waited_for(world):
    world.errors = [OSError("no route to host")] * 30
    assert world.run().how is How.VERIFIED
    assert world.reports[0] == (
        "waiting",
        {"missing": "OSError: no route to host", "waited_s": pytest.approx(30, abs=6)},
    )


def test_what_the_cluster_made_of_a_restore_is_in_the_record_of_a_later_restorer(world, monkeypatch):
    def clamped(state):
        raise Altered("3 replicas were requested, the cluster set 1", {"came": 1})

    monkeypatch.setattr(world, "restore", clamped)
    end = world.run(within_s=60.0)
    assert (end.how, world.records) == (How.OPEN, [replace(UNDO, state=UNDO.state | {"came": 1})])
    assert world.records[0].same_fault(UNDO)
    assert not replace(UNDO, state={}).same_fault(UNDO)

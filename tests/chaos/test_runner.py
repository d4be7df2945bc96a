"""Chaos always mends: the runner against a real API, whatever happens to the target meanwhile."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from chaos import lease, plan, runner
from chaos.fault import NotYet
from chaos.faults.scale_to import ScaleTo
from chaos.journal import Journal
from chaos.preflight import ground_of
from chaos.runner import Surroundings, walk
from chaos.stop import Stop
from contract import timeline
from tests.chaos.conftest import NoGuardian
from tests.chaos.passing import Ahead
from tests.chaos.plain import UP
from tests.chaos.stand import until

SHORT = """
hypothesis: it comes back
baseline: 0s
settle: 1s
max: 1m
steps: [{name: gaming, at: 0s, for: 45s, fault: scale_to_zero, target: vllm}]
"""
PASSES_S = 45.0  # a step's time, which passes at once when its fault is effective


class Answering:
    """The tier answers at once."""

    def look(self):
        return {"answered": "yes"}


class Walk:
    """One round, walked in a thread so that a test can do something in the middle of it."""

    def __init__(
        self,
        target,
        tmp_path: Path,
        restore_within_s: float = 120.0,
        on_event=lambda e: None,
        text: str = SHORT,
        question=None,
        hold: bool = False,
    ) -> None:
        """`hold`: the step's time passes when the test says so (`pass_`), or somebody ends it; otherwise at once when the fault
        is effective."""
        path = tmp_path / "short.yaml"
        path.write_text(text.replace("scale_to_zero", target.fault))
        bound = plan.bind(timeline.read(path), target.topology(), "short.yaml")
        self.time = Ahead()
        self.stop, self.events, self.journal = Stop(self.time.wait), [], Journal(tmp_path / "journal")
        self.seen: dict[str, threading.Event] = {}

        def tell(event) -> None:
            on_event(event)
            self.events.append(event)
            self.passed(f"{event.move} {event.stage}").set()
            if (event.move, event.stage) == ("inject", "effective") and not hold:
                self.pass_()

        around = Surroundings(
            run="a-run", folder=tmp_path, clock=self.time, stop=self.stop, journal=self.journal, tell=tell,
            guarding=NoGuardian(), ground=ground_of(target.topology(), without_reaper=False),
            answers=lambda bound, patience_s: None, question=lambda bound, within_s: question or Answering(),
            restore_within_s=restore_within_s, wait=self.time.wait, sleep=self.time.sleep,
        )  # fmt: skip
        self._thread = threading.Thread(target=lambda: self._walk(bound, around))
        self._thread.start()

    def pass_(self) -> None:
        self.time.forward(PASSES_S)

    def passed(self, what: str) -> threading.Event:
        return self.seen.setdefault(what, threading.Event())

    def await_(self, what: str) -> None:
        assert self.passed(what).wait(60), f"no {what}; there was {self.told}"

    def end(self):
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.outcome

    def _walk(self, bound, around) -> None:
        self.outcome = walk(bound, around, around.clock.now(), trial=1)

    @property
    def told(self) -> list[str]:
        return [f"{e.move} {e.stage}" for e in self.events]


ALL = [
    "inject begin",
    "inject commanded",
    "inject effective",
    "mend begin",
    "mend commanded",
    "mend effective",
]


def test_a_step_takes_the_target_away_and_brings_it_back(stand, tmp_path):
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    assert stand.replicas() == 0
    found.pass_()
    assert not found.end().not_restored
    assert found.told == ALL
    assert (stand.replicas(), stand.ready()) == (1, 1)
    assert found.events[2].detail == {"pods": 0, "endpoints": 0}


def test_no_fault_before_its_undo_record_is_on_disk_and_in_the_lease(stand, tmp_path):
    seen = {}

    def look(event) -> None:
        if (event.move, event.stage) == ("inject", "begin"):
            seen["replicas"] = stand.replicas()
            seen["records"] = Journal(tmp_path / "journal").records()
            seen["leases"] = stand.leases()

    found = Walk(stand, tmp_path, on_event=look)
    found.end()
    assert seen["replicas"] == 1
    assert [r.state["original"] for r in seen["records"]] == [{"replicas": 1, "ready": 1, "endpoints": 1}]
    assert [lease["spec"]["holderIdentity"].split()[-1] for lease in seen["leases"]] == ["(a-run)"]
    assert found.journal.records() == []
    assert stand.leases() == []


def test_a_stop_in_mid_fault_mends_at_once_and_says_why(file, tmp_path):
    found = Walk(file, tmp_path, hold=True)
    found.await_("inject commanded")
    found.stop.set("signal: SIGTERM")
    found.stop.set("signal: SIGTERM")
    found.end()
    assert file.is_() == UP
    assert next(e for e in found.events if e.move == "mend").detail == {"because": "signal: SIGTERM"}


def test_a_stop_before_the_step_touches_nothing(file, tmp_path):
    found = Walk(file, tmp_path, text=SHORT.replace("at: 0s", "at: 10s"))
    found.stop.set("leash")
    found.end()
    assert found.told == []


def test_a_second_experiment_is_refused_with_the_holders_name(stand, tmp_path):
    (tmp_path / "a").mkdir()
    first = Walk(stand, tmp_path / "a", hold=True)
    first.await_("inject commanded")
    (tmp_path / "b").mkdir()
    second = Walk(stand, tmp_path / "b")
    second.await_("inject fail")
    assert "ml/vllm-server is held by" in second.events[0].error
    assert "(a-run, step gaming)" in second.events[0].error
    second.end()
    assert second.told == ["inject fail"]
    assert second.journal.records() == []
    first.await_("inject effective")
    first.pass_()
    first.end()
    assert first.told == ALL


def test_a_target_with_no_replicas_is_refused(stand, tmp_path):
    stand.scale(0)
    found = Walk(stand, tmp_path)
    found.end()
    assert found.told == ["inject fail"]
    assert "has no replicas: there is nothing to take away" in found.events[0].error
    assert stand.replicas() == 0


def test_an_undo_record_that_cannot_be_written_keeps_the_fault_away(stand, tmp_path):
    (tmp_path / "journal").write_text("not a folder")
    found = Walk(stand, tmp_path)
    found.end()
    assert found.told == ["inject fail"]
    assert stand.replicas() == 1
    assert stand.leases() == []


def test_what_someone_else_scaled_is_left_as_he_wants_it_and_reported(stand, tmp_path):
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.scale(2)
    found.end()
    assert stand.replicas() == 2
    assert found.events[-1].stage == "fail"
    assert "scaled to 2 by someone else; it is left alone" in found.events[-1].error
    assert stand.leases() == []


@pytest.mark.parametrize("status", [500, 429, 502], ids=["500", "429", "a page of HTML"])
def test_an_api_server_in_trouble_delays_the_mend_and_does_not_lose_it(stand, tmp_path, status):
    refused = []

    async def trouble(request, handler):
        if request.method in ("PATCH", "GET") and len(refused) < 4:
            refused.append(request.path)
            return web.Response(status=status, text="<html>Bad Gateway</html>", content_type="text/html")
        return await handler(request)

    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.trouble = trouble
    found.pass_()
    assert not found.end().not_restored
    assert len(refused) == 4
    assert stand.ready() == 1


def test_a_status_without_a_message_is_trouble_as_any_other(stand, tmp_path):
    left = [2]

    async def trouble(request, handler):
        if not left[0] or not request.path.endswith("/scale"):
            return await handler(request)
        left[0] -= 1
        return web.json_response({"kind": "Status", "status": "Failure", "code": 500}, status=500)

    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.trouble = trouble
    found.pass_()
    assert not found.end().not_restored
    assert left == [0]
    assert stand.ready() == 1


def test_a_step_that_breaks_off_by_a_mistake_of_ours_is_not_called_restored(file, tmp_path, monkeypatch):
    monkeypatch.setattr("chaos.retry.told", lambda error: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def mend(self, state):
        raise OSError

    monkeypatch.setattr(file.driver(), "mend", mend)
    found = Walk(file, tmp_path)
    assert found.end().not_restored == [str(file.path)]
    assert "broke off: ZeroDivisionError" in found.events[-1].error


def test_a_step_that_breaks_off_where_nobody_can_be_told_is_not_called_restored(stand, tmp_path, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def look(event) -> None:
        if event.move == "mend":
            raise OSError("nobody listens")

    found = Walk(stand, tmp_path, on_event=look)
    assert found.end().not_restored == ["ml/vllm-server"]
    assert len(found.journal.records()) == 1


def test_a_mend_that_cannot_be_done_is_reported_as_not_restored_and_stays_open(stand, tmp_path):
    async def trouble(request, handler):
        return web.Response(status=500)

    found = Walk(stand, tmp_path, restore_within_s=1.0, hold=True)
    found.await_("inject effective")
    stand.trouble = trouble
    found.pass_()
    assert found.end().not_restored == ["ml/vllm-server"]
    stand.trouble = None
    assert "could not be restored" in found.events[-1].error
    assert len(found.journal.records()) == 1
    assert len(stand.leases()) == 1


def test_someone_who_scales_up_and_down_again_wants_it_down(stand, tmp_path):
    """0 → 1 → 0 in the window ends where it began; only who watched knows that it is no longer ours."""
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.scale(1)
    stand.scale(0)
    assert not found.end().not_restored
    assert stand.replicas() == 0
    assert found.told[-2:] == ["mend begin", "mend fail"]  # nothing was commanded
    assert "scaled to 1 by someone else" in found.events[-1].error
    assert found.events[-1].detail == {"foreign": True}
    assert (stand.leases(), found.journal.records()) == ([], [])


def test_the_window_ends_when_someone_moves_the_target(stand, tmp_path):
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.scale(1)
    found.await_("mend begin")
    found.end()
    begin = next(e for e in found.events if (e.move, e.stage) == ("mend", "begin"))
    assert begin.late_ms is None
    assert "scaled to 1 by someone else" in begin.detail["because"]


def test_a_target_that_was_deleted_or_made_anew_is_left_alone_and_reported(stand, tmp_path):
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.remake()
    found.pass_()
    found.end()
    assert found.events[-1].detail == {"foreign": True}
    assert "by someone else" in found.events[-1].error
    assert stand.replicas() == 1


def test_a_claim_past_its_deadline_is_taken_over_by_mending_first(stand, tmp_path):
    """A controller that died on another machine: only its Lease is left, and the target is at zero."""
    (tmp_path / "dead").mkdir()
    dead = Walk(stand, tmp_path / "dead", hold=True)
    dead.await_("inject commanded")
    (undo,) = dead.journal.records()
    dead.pass_()
    dead.end()
    stand.scale(0)
    lease.take(stand.client, replace(undo, deadline=time.time() - 1), time.time())
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    found.stop.set("enough")
    found.end()
    assert found.told == ["inject takeover", *ALL]
    assert found.events[0].detail["from"] == undo.holder
    assert stand.ready() == 1
    assert stand.leases() == []


def test_a_claim_before_its_deadline_is_not_taken_over(stand, tmp_path):
    (tmp_path / "alive").mkdir()
    alive = Walk(stand, tmp_path / "alive", hold=True)
    alive.await_("inject commanded")
    (undo,) = alive.journal.records()
    alive.pass_()
    alive.end()
    lease.take(stand.client, replace(undo, deadline=time.time() + 60), time.time())
    found = Walk(stand, tmp_path)
    found.end()
    assert found.told == ["inject fail"]
    assert len(stand.leases()) == 1


def test_an_inject_whose_answer_is_lost_is_found_to_have_been_done(stand, tmp_path):
    async def trouble(request, handler):
        if request.method != "PATCH":
            return await handler(request)
        stand.trouble = None
        await handler(request)
        request.transport.close()  # done, and nobody hears of it
        return web.Response()

    stand.trouble = trouble
    found = Walk(stand, tmp_path)
    found.end()
    assert found.told == ALL
    assert stand.ready() == 1


def test_steps_on_one_target_follow_each_other_however_close_they_are(file, tmp_path):
    """The second one's record is due before the first one's mend was verified: it waits for it."""
    steps = "{name: first, at: 0s, for: 10s, fault: scale_to_zero, target: vllm}, {name: second, at: 10001ms, for: 40s, fault: scale_to_zero, target: vllm}"
    found = Walk(file, tmp_path, hold=True, text=SHORT[: SHORT.index("steps:")] + f"steps: [{steps}]\n")
    found.await_("inject effective")
    found.time.forward(10)
    until(lambda: found.told == [*ALL, *ALL[:3]], "the second is in effect")
    found.stop.set("enough")
    found.end()
    assert found.told == [*ALL, *ALL]
    assert [e.step for e in found.events] == ["first"] * 6 + ["second"] * 6


def test_an_inject_that_was_given_up_and_arrives_after_the_mend_is_mended_again(stand, tmp_path):
    """Its first try is held back and its connection cut; so are the next ones, which never arrive."""
    held = []

    async def trouble(request, handler):
        if request.method != "PATCH" or stand.replicas_wanted(await request.read()) != 0:
            return await handler(request)
        if not held:
            held.append(request)

            async def later() -> None:
                while "mend effective" not in found.told:
                    await asyncio.sleep(0.05)
                # Whether something has changed the object's version meanwhile, so that it is refused, is chance.
                body = json.loads(await request.read())
                body.get("metadata", {}).pop("resourceVersion", None)
                request._read_bytes = json.dumps(body).encode()
                await handler(request)

            held.append(asyncio.ensure_future(later()))
        request.transport.abort()
        return web.Response()

    stand.trouble = trouble
    found = Walk(stand, tmp_path)
    until(lambda: held, "the inject is on its way")
    found.time.stand_still()
    found.time.forward(runner.INJECT_WITHIN_S)

    def restored_again() -> bool:
        """Reported, or, where it was put back before its Pod had gone, seen when the runner has ended: nothing was lost."""
        found.time.forward(0.02)  # half as fast as it is: what waits to look again must not wait for ever
        return not found._thread.is_alive() or bool(
            found.events[-1].detail and found.events[-1].detail.get("again")
        )

    until(restored_again, "it has come, and was restored")
    found.time.go_on()
    assert not found.end().not_restored
    assert held
    assert held[1].done()
    assert found.told[:2] == ["inject begin", "inject fail"]
    assert found.told[-1] == "mend effective"
    assert (stand.replicas(), stand.ready()) == (1, 1)


def test_a_target_that_was_not_whole_is_restored_when_it_is_as_it_was(stand, tmp_path):
    stand.scale(2)  # they want one port: the second stays Pending
    until(lambda: len(stand.client.pods("ml", {"matchLabels": {"app": "vllm-server"}})) == 2, "there are two")
    found = Walk(stand, tmp_path)
    assert not found.end().not_restored
    assert found.told == ALL
    assert found.events[-1].detail == {"ready": 1, "endpoints": 1, "answered": "yes"}
    (remark,) = found.events[0].detail["remarks"]
    assert "is not whole: 1 of 2 Pods ready" in remark


@pytest.fixture
def slow(monkeypatch):
    """The Pods of a scale to zero go when a test says so; what is a minute takes a moment."""
    gone, really = threading.Event(), ScaleTo.effective

    def effective(self, state):
        if not gone.is_set():
            raise NotYet("1 Pods are left, 1 of them terminating, which may take 90 s; endpoints of 1")
        return really(self, state)

    monkeypatch.setattr(ScaleTo, "effective", effective)
    monkeypatch.setattr(runner, "EFFECTIVE_WITHIN_S", 0.1)
    monkeypatch.setattr(runner, "LATE_LOOK_S", 0.02)
    return gone


def test_what_becomes_effective_late_is_recorded_as_effective_and_never_as_failed(stand, tmp_path, slow):
    found = Walk(stand, tmp_path)
    found.await_("inject waiting")
    until(lambda: not stand.client.endpoints("ml"), "it is really gone")
    slow.set()
    assert not found.end().not_restored
    assert found.told == [*ALL[:2], "inject waiting", *ALL[2:]]
    assert found.events[1].detail == {"terminating_up_to_s": 30.0}
    assert found.events[2].detail["missing"].startswith("1 Pods are left, 1 of them terminating")


def test_what_is_not_effective_by_the_end_of_its_step_has_failed_once_and_is_restored(stand, tmp_path, slow):
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject waiting")
    found.pass_()
    assert not found.end().not_restored
    assert found.told == [*ALL[:2], "inject waiting", "inject fail", *ALL[3:]]
    assert found.events[3].error.startswith("not effective: 1 Pods are left, 1 of them terminating")
    assert stand.ready() == 1


@pytest.mark.parametrize(("takes_s", "more_s"), [(0.0, 0.0), (30.0, 0.0), (90.0, 30.0), (172800.0, 900.0)])
def test_a_deadline_has_room_for_the_grace_of_what_goes_within_reason(
    file, tmp_path, monkeypatch, takes_s, more_s
):
    monkeypatch.setattr(file.driver(), "takes_s", lambda self, state: takes_s)
    seen = {}

    def look(event) -> None:
        if (event.move, event.stage) == ("inject", "begin"):
            (record,) = Journal(tmp_path / "journal").records()
            seen["room"] = record.deadline - (event.at - event.late_ms / 1000 + PASSES_S)

    found = Walk(file, tmp_path, on_event=look, restore_within_s=20.0)
    found.end()
    assert seen["room"] == pytest.approx(20 + more_s, abs=0.05)


def _delete_leases(stand) -> None:
    for held in stand.leases():
        stand.client.delete_lease("ml", held["metadata"]["name"], held["metadata"]["uid"])


def test_a_lease_that_somebody_deletes_mid_fault_is_made_again_so_that_a_reaper_finds_it(
    stand, tmp_path, monkeypatch
):
    monkeypatch.setattr(runner, "KEEP_EVERY_S", 0.05)
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    _delete_leases(stand)
    found.await_("inject reclaimed")
    (held,) = stand.leases()
    assert lease.undo_in(held) == found.journal.records()[0]
    found.stop.set("enough")
    assert not found.end().not_restored
    assert found.told == [*ALL[:3], "inject reclaimed", *ALL[3:]]
    assert (stand.ready(), stand.leases(), found.journal.records()) == (1, [], [])


@pytest.mark.parametrize("spoiled", ["the record", "the label"])
def test_a_lease_that_somebody_spoils_mid_fault_is_made_whole_so_that_a_reaper_can_act(
    stand, tmp_path, monkeypatch, spoiled
):
    monkeypatch.setattr(runner, "KEEP_EVERY_S", 0.05)
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    (held,) = stand.leases()
    if spoiled == "the record":
        held["metadata"]["annotations"] = {"brownout.dev/undo": "nonsense", "theirs": "stays"}
    else:
        held["metadata"]["labels"] = {}
    assert stand.client.replace_lease(held)
    found.await_("inject reclaimed")
    (held,) = stand.client.leases("ml", lease.LABEL)
    assert lease.undo_in(held) == found.journal.records()[0]
    assert spoiled == "the label" or held["metadata"]["annotations"]["theirs"] == "stays"
    found.stop.set("enough")
    assert not found.end().not_restored
    assert (stand.ready(), stand.leases(), found.journal.records()) == (1, [], [])


def test_a_lease_that_was_deleted_just_before_the_restore_keeps_nobody_from_it(stand, tmp_path):
    def look(event) -> None:
        if (event.move, event.stage) == ("mend", "begin"):
            _delete_leases(stand)

    found = Walk(stand, tmp_path, on_event=look)
    assert not found.end().not_restored
    assert found.told == ALL
    assert "claimed_again" in found.events[4].detail
    assert (stand.ready(), stand.leases(), found.journal.records()) == (1, [], [])


def _taken_by_another(stand, found):
    """The Lease is deleted, and another experiment takes the target."""
    (undo,) = found.journal.records()
    _delete_leases(stand)
    another = replace(undo, run="another-run", holder="elsewhere:1")
    until(lambda: lease.take(stand.client, another, time.time()) or _delete_leases(stand), "another holds it")


HELD = "is held by elsewhere:1 (another-run) now; not touched"


@pytest.mark.parametrize("moved", [False, True], ids=["it is as we set it", "it was moved at once"])
def test_who_takes_the_target_after_its_lease_was_deleted_is_waited_for_and_the_target_restored(
    stand, tmp_path, monkeypatch, moved
):
    """He restores what he found, which is what our fault had left."""
    monkeypatch.setattr(runner, "KEEP_EVERY_S", 60.0 if moved else 0.05)
    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    _taken_by_another(stand, found)
    if moved:
        stand.scale(2)
    found.await_("mend begin")
    assert HELD in found.events[-1].detail["because"]
    time.sleep(0.5)
    assert stand.replicas() == (2 if moved else 0)
    assert [held["spec"]["holderIdentity"] for held in stand.leases()] == ["elsewhere:1 (another-run)"]
    if moved:
        stand.scale(0)
    _delete_leases(stand)
    assert not found.end().not_restored
    assert (stand.ready(), stand.leases(), found.journal.records()) == (1, [], [])
    assert HELD in found.stop.reason


def test_where_he_does_not_give_it_back_it_is_not_restored_and_the_record_stays(stand, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "KEEP_EVERY_S", 0.05)
    found = Walk(stand, tmp_path, restore_within_s=1.0, hold=True)
    found.await_("inject effective")
    _taken_by_another(stand, found)
    assert found.end().not_restored == ["ml/vllm-server"]
    assert f"could not be restored: ml/vllm-server {HELD}" in found.events[-1].error
    assert stand.replicas() == 0
    assert [held["spec"]["holderIdentity"] for held in stand.leases()] == ["elsewhere:1 (another-run)"]
    assert len(found.journal.records()) == 1


class Loading:
    """A tier that is ready by its machinery, and answers when a test says so."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def look(self):
        if not self.answers.is_set():
            raise NotYet("vllm does not answer: refused")
        return {"answered": "yes"}


def test_while_a_tier_loads_its_record_says_that_its_controller_is_at_it(stand, tmp_path, monkeypatch):
    """Others act at the deadline: three minutes after the planned restore, or when the restore that was commanded must have ended."""
    monkeypatch.setattr(runner, "COMMANDED_WITHIN_S", 1.0)
    loading, deadlines = Loading(), []
    found = Walk(stand, tmp_path, restore_within_s=900.0, question=loading)
    found.await_("inject effective")
    deadlines.append(found.journal.records()[0].deadline)
    found.await_("mend commanded")
    until(lambda: found.journal.records()[0].deadline > deadlines[0] + 600, "the deadline has moved")
    (held,) = stand.leases()
    assert lease.undo_in(held) == found.journal.records()[0]
    loading.answers.set()
    assert not found.end().not_restored
    assert (stand.leases(), found.journal.records()) == ([], [])

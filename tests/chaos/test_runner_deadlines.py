"""Slow steps: a late fault, a tier that loads its model, and the deadline at which others restore."""

import threading

import pytest

from chaos import step
from chaos.errors import NotYet
from chaos.faults.scale_to import ScaleTo
from chaos.undo import lease
from chaos.undo.journal import Journal
from tests.chaos.round_thread import ALL, PASSES_S, RoundThread
from tests.chaos.stand import until


@pytest.fixture
def slow(monkeypatch):
    """The Pods of a scale to zero terminate when a test sets the event; a minute takes a moment."""
    gone, really = threading.Event(), ScaleTo.effective

    def effective(self, state):
        if not gone.is_set():
            raise NotYet("1 Pods remain, 1 of them terminating, which may take 90 s; endpoints of 1")
        return really(self, state)

    monkeypatch.setattr(ScaleTo, "effective", effective)
    monkeypatch.setattr(step, "EFFECTIVE_WITHIN_S", 0.1)
    monkeypatch.setattr(step, "LATE_LOOK_S", 0.02)
    return gone


def test_what_becomes_effective_late_is_recorded_as_effective_and_never_as_failed(stand, tmp_path, slow):
    found = RoundThread(stand, tmp_path)
    found.await_("inject waiting")
    until(lambda: not stand.client.endpoints("ml"), "it is really gone")
    slow.set()
    assert not found.end().not_restored
    assert found.stages == [*ALL[:2], "inject waiting", *ALL[2:]]
    assert found.events[1].detail == {"terminating_up_to_s": 30.0}
    assert found.events[2].detail["missing"].startswith("1 Pods remain, 1 of them terminating")


def test_what_is_not_effective_by_the_end_of_its_step_has_failed_once_and_is_restored(stand, tmp_path, slow):
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject waiting")
    found.pass_()
    assert not found.end().not_restored
    assert found.stages == [*ALL[:2], "inject waiting", "inject fail", *ALL[3:]]
    assert found.events[3].error.startswith("not effective: 1 Pods remain, 1 of them terminating")
    assert stand.ready() == 1


@pytest.mark.parametrize(("takes_s", "more_s"), [(0.0, 0.0), (30.0, 0.0), (90.0, 30.0), (172800.0, 900.0)])
def test_a_deadline_is_extended_by_the_grace_period_up_to_a_limit(
    file, tmp_path, monkeypatch, takes_s, more_s
):
    monkeypatch.setattr(file.driver(), "takes_s", lambda self, state: takes_s)
    seen = {}

    def look(event) -> None:
        if (event.move, event.stage) == ("inject", "begin"):
            (record,) = Journal(tmp_path / "journal").records()
            seen["room"] = record.deadline - (event.at - event.late_ms / 1000 + PASSES_S)

    found = RoundThread(file, tmp_path, on_event=look, restore_within_s=20.0)
    found.end()
    assert seen["room"] == pytest.approx(20 + more_s, abs=0.05)


class Loading:
    """A tier that its system reports as ready, and that answers when a test sets the event."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def look(self):
        if not self.answers.is_set():
            raise NotYet("vllm does not answer: refused")
        return {"answered": "yes"}


def test_while_a_tier_loads_its_record_shows_that_its_controller_is_active(stand, tmp_path, monkeypatch):
    """Others restore at the deadline: 3 min after the planned restore, or when the commanded restore must have ended."""
    monkeypatch.setattr(step, "COMMANDED_WITHIN_S", 1.0)
    loading, deadlines = Loading(), []
    found = RoundThread(stand, tmp_path, restore_within_s=900.0, question=loading)
    found.await_("inject effective")
    deadlines.append(found.journal.records()[0].deadline)
    found.await_("restore commanded")
    until(lambda: found.journal.records()[0].deadline > deadlines[0] + 600, "the deadline has moved")
    (held,) = stand.leases()
    assert lease.undo_in(held) == found.journal.records()[0].in_lease
    loading.answers.set()
    assert not found.end().not_restored
    assert (stand.leases(), found.journal.records()) == ([], [])

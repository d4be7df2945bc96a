"""Chaos always restores: the stages of a step against a real API, and how it ends after a stop or a failure."""

import threading

from chaos.undo.journal import Journal
from tests.chaos.plain import UP
from tests.chaos.round_thread import ALL, SHORT, RoundThread
from tests.chaos.stand import until


def test_a_step_takes_the_target_away_and_brings_it_back(stand, tmp_path):
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    assert stand.replicas() == 0
    found.pass_()
    assert not found.end().not_restored
    assert found.stages == ALL
    assert (stand.replicas(), stand.ready()) == (1, 1)
    assert found.events[2].detail == {"pods": 0, "endpoints": 0}


def test_no_fault_before_its_undo_record_is_on_disk_and_in_the_lease(stand, tmp_path):
    seen = {}

    def look(event) -> None:
        if (event.move, event.stage) == ("inject", "begin"):
            seen["replicas"] = stand.replicas()
            seen["records"] = Journal(tmp_path / "journal").records()
            seen["leases"] = stand.leases()

    found = RoundThread(stand, tmp_path, on_event=look)
    found.end()
    assert seen["replicas"] == 1
    assert [r.state["original"] for r in seen["records"]] == [{"replicas": 1, "ready": 1, "endpoints": 1}]
    assert [lease["spec"]["holderIdentity"].split()[-1] for lease in seen["leases"]] == ["(a-run)"]
    assert found.journal.records() == []
    assert stand.leases() == []


def test_a_stop_in_mid_fault_restores_at_once_and_records_why(file, tmp_path):
    found = RoundThread(file, tmp_path, hold=True)
    found.await_("inject commanded")
    found.stop.set("signal: SIGTERM")
    found.stop.set("signal: SIGTERM")
    found.end()
    assert file.is_() == UP
    assert next(e for e in found.events if e.move == "restore").detail == {"because": "signal: SIGTERM"}


def test_a_stop_before_the_step_touches_nothing(file, tmp_path):
    found = RoundThread(file, tmp_path, text=SHORT.replace("at: 0s", "at: 10s"))
    found.stop.set("leash")
    found.end()
    assert found.stages == []


def test_a_target_with_no_replicas_is_refused(stand, tmp_path):
    stand.scale(0)
    found = RoundThread(stand, tmp_path)
    found.end()
    assert found.stages == ["inject fail"]
    assert "has no replicas: there is nothing to take away" in found.events[0].error
    assert stand.replicas() == 0


def test_an_undo_record_that_cannot_be_written_keeps_the_fault_away(stand, tmp_path):
    (tmp_path / "journal").write_text("not a folder")
    found = RoundThread(stand, tmp_path)
    found.end()
    assert found.stages == ["inject fail"]
    assert stand.replicas() == 1
    assert stand.leases() == []


def test_a_step_that_fails_by_a_bug_is_not_reported_as_restored(file, tmp_path, monkeypatch):
    monkeypatch.setattr("chaos.retry.api_error_text", lambda error: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def restore(self, state):
        raise OSError

    monkeypatch.setattr(file.driver(), "restore", restore)
    found = RoundThread(file, tmp_path)
    assert found.end().not_restored == [str(file.path)]
    assert "the step failed: ZeroDivisionError" in found.events[-1].error


def test_a_step_whose_event_cannot_be_recorded_is_not_reported_as_restored(stand, tmp_path, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def look(event) -> None:
        if event.move == "restore":
            raise OSError("disk full")

    found = RoundThread(stand, tmp_path, on_event=look)
    assert found.end().not_restored == ["ml/vllm-server"]
    assert len(found.journal.records()) == 1


def test_steps_on_one_target_follow_each_other_however_close_they_are(file, tmp_path):
    """The second one's record is due before the first one's restore was verified: it waits for it."""
    steps = "{name: first, at: 0s, for: 10s, fault: scale_to_zero, target: vllm}, {name: second, at: 10001ms, for: 40s, fault: scale_to_zero, target: vllm}"
    found = RoundThread(
        file, tmp_path, hold=True, text=SHORT[: SHORT.index("steps:")] + f"steps: [{steps}]\n"
    )
    found.await_("inject effective")
    found.time.forward(10)
    until(lambda: found.stages == [*ALL, *ALL[:3]], "the second is in effect")
    found.stop.set("enough")
    found.end()
    assert found.stages == [*ALL, *ALL]
    assert [e.step for e in found.events] == ["first"] * 6 + ["second"] * 6


def test_a_target_that_was_not_whole_is_restored_when_it_is_as_it_was(stand, tmp_path):
    stand.scale(2)  # they want one port: the second stays Pending
    until(lambda: len(stand.client.pods("ml", {"matchLabels": {"app": "vllm-server"}})) == 2, "there are two")
    found = RoundThread(stand, tmp_path)
    assert not found.end().not_restored
    assert found.stages == ALL
    assert found.events[-1].detail == {"ready": 1, "endpoints": 1, "answered": "yes"}
    (remark,) = found.events[0].detail["remarks"]
    assert "is not fully ready: 1 of 2 Pods ready" in remark

"""A change by someone else during a fault is left alone."""

from tests.chaos.round_thread import RoundThread


def test_what_someone_else_scaled_is_left_alone_and_reported(stand, tmp_path):
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.scale(2)
    found.end()
    assert stand.replicas() == 2
    assert found.events[-1].stage == "fail"
    assert "scaled to 2 by someone else; it is left alone" in found.events[-1].error
    assert stand.leases() == []


def test_a_target_that_someone_scaled_up_and_down_again_stays_down(stand, tmp_path):
    """0 → 1 → 0 in the window ends where it began; only a watch detects the change."""
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.scale(1)
    stand.scale(0)
    assert not found.end().not_restored
    assert stand.replicas() == 0
    assert found.stages[-2:] == ["restore begin", "restore fail"]  # nothing was commanded
    assert "scaled to 1 by someone else" in found.events[-1].error
    assert found.events[-1].detail == {"foreign": True}
    assert (stand.leases(), found.journal.records()) == ([], [])


def test_the_window_ends_when_someone_changes_the_target(stand, tmp_path):
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.scale(1)
    found.await_("restore begin")
    found.end()
    begin = next(e for e in found.events if (e.move, e.stage) == ("restore", "begin"))
    assert begin.late_ms is None
    assert "scaled to 1 by someone else" in begin.detail["because"]


def test_a_target_that_was_deleted_or_re_created_is_left_alone_and_reported(stand, tmp_path):
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.remake()
    found.pass_()
    found.end()
    assert found.events[-1].detail == {"foreign": True}
    assert "by someone else" in found.events[-1].error
    assert stand.replicas() == 1

"""The claim on a target: its holder, takeovers, and what a step does where someone damages or deletes its Lease."""

import time
from dataclasses import replace

import pytest

from chaos import step
from chaos.kube.names import LABEL
from chaos.undo import lease
from tests.chaos.round_thread import ALL, RoundThread
from tests.chaos.stand import until


def test_a_second_experiment_is_refused_with_the_holders_name(stand, tmp_path):
    (tmp_path / "a").mkdir()
    first = RoundThread(stand, tmp_path / "a", hold=True)
    first.await_("inject commanded")
    (tmp_path / "b").mkdir()
    second = RoundThread(stand, tmp_path / "b")
    second.await_("inject fail")
    assert "ml/vllm-server is held by" in second.events[0].error
    assert "(a-run, step gaming)" in second.events[0].error
    second.end()
    assert second.stages == ["inject fail"]
    assert second.journal.records() == []
    first.await_("inject effective")
    first.pass_()
    first.end()
    assert first.stages == ALL


def test_a_claim_past_its_deadline_is_taken_over_by_restoring_first(stand, tmp_path):
    """A controller that died on another machine: only its Lease remains, and the target is at zero."""
    (tmp_path / "dead").mkdir()
    dead = RoundThread(stand, tmp_path / "dead", hold=True)
    dead.await_("inject commanded")
    (undo,) = dead.journal.records()
    dead.pass_()
    dead.end()
    stand.scale(0)
    lease.take(stand.client, replace(undo, deadline=time.time() - 1), time.time())
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    found.stop.set("enough")
    found.end()
    assert found.stages == ["inject takeover", *ALL]
    assert found.events[0].detail["from"] == undo.holder
    assert stand.ready() == 1
    assert stand.leases() == []


def test_a_claim_before_its_deadline_is_not_taken_over(stand, tmp_path):
    (tmp_path / "alive").mkdir()
    alive = RoundThread(stand, tmp_path / "alive", hold=True)
    alive.await_("inject commanded")
    (undo,) = alive.journal.records()
    alive.pass_()
    alive.end()
    lease.take(stand.client, replace(undo, deadline=time.time() + 60), time.time())
    found = RoundThread(stand, tmp_path)
    found.end()
    assert found.stages == ["inject fail"]
    assert len(stand.leases()) == 1


def _delete_leases(stand) -> None:
    for held in stand.leases():
        stand.client.delete_lease("ml", held["metadata"]["name"], held["metadata"]["uid"])


def test_a_lease_that_somebody_deletes_mid_fault_is_made_again_so_that_a_reaper_finds_it(
    stand, tmp_path, monkeypatch
):
    monkeypatch.setattr(step, "KEEP_EVERY_S", 0.05)
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    _delete_leases(stand)
    found.await_("inject reclaimed")
    (held,) = stand.leases()
    assert lease.undo_in(held) == found.journal.records()[0].in_lease
    found.stop.set("enough")
    assert not found.end().not_restored
    assert found.stages == [*ALL[:3], "inject reclaimed", *ALL[3:]]
    assert (stand.ready(), stand.leases(), found.journal.records()) == (1, [], [])


@pytest.mark.parametrize("spoiled", ["the record", "the label"])
def test_a_lease_that_somebody_spoils_mid_fault_is_made_whole_so_that_a_reaper_can_act(
    stand, tmp_path, monkeypatch, spoiled
):
    monkeypatch.setattr(step, "KEEP_EVERY_S", 0.05)
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    (held,) = stand.leases()
    if spoiled == "the record":
        held["metadata"]["annotations"] = {"brownout.dev/undo": "nonsense", "theirs": "stays"}
    else:
        held["metadata"]["labels"] = {}
    assert stand.client.replace_lease(held)
    found.await_("inject reclaimed")
    (held,) = stand.client.leases("ml", LABEL)
    assert lease.undo_in(held) == found.journal.records()[0].in_lease
    assert spoiled == "the label" or held["metadata"]["annotations"]["theirs"] == "stays"
    found.stop.set("enough")
    assert not found.end().not_restored
    assert (stand.ready(), stand.leases(), found.journal.records()) == (1, [], [])


def test_a_lease_that_was_deleted_just_before_the_restore_keeps_nobody_from_it(stand, tmp_path):
    def look(event) -> None:
        if (event.move, event.stage) == ("restore", "begin"):
            _delete_leases(stand)

    found = RoundThread(stand, tmp_path, on_event=look)
    assert not found.end().not_restored
    assert found.stages == ALL
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
def test_a_run_that_takes_the_target_after_its_lease_was_deleted_is_waited_for_and_the_target_restored(
    stand, tmp_path, monkeypatch, moved
):
    """That run restores what it found, the state after our fault."""
    monkeypatch.setattr(step, "KEEP_EVERY_S", 60.0 if moved else 0.05)
    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    _taken_by_another(stand, found)
    if moved:
        stand.scale(2)
    found.await_("restore begin")
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
    monkeypatch.setattr(step, "KEEP_EVERY_S", 0.05)
    found = RoundThread(stand, tmp_path, restore_within_s=1.0, hold=True)
    found.await_("inject effective")
    _taken_by_another(stand, found)
    assert found.end().not_restored == ["ml/vllm-server"]
    assert f"could not be restored: ml/vllm-server {HELD}" in found.events[-1].error
    assert stand.replicas() == 0
    assert [held["spec"]["holderIdentity"] for held in stand.leases()] == ["elsewhere:1 (another-run)"]
    assert len(found.journal.records()) == 1

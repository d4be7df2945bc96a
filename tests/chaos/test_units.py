"""The unit faults, on a recorded systemd and on a real one."""

import json
import os
import threading

import pytest

from chaos import faults
from chaos.errors import CannotInject, Foreign
from chaos.fault import Deadman, Fault
from chaos.host.systemd import timer_of
from tests.chaos import targets
from tests.chaos.hosts import RealHost, RecordedHost, why_not_real
from tests.chaos.stand import until

ALL = ("unit_stop", "unit_kill", "unit_freeze", "unit_restart")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    why = why_not_real()
    if why:
        pytest.skip(f"no systemd of our own here: {why}")
    host = RealHost(tmp_path_factory.mktemp("real"))
    yield host
    host.close()


@pytest.fixture(params=["recorded", pytest.param("real", marks=pytest.mark.verify)])
def host(request, monkeypatch, tmp_path):
    """All its units run; the drivers' commands go there."""
    if request.param == "recorded":
        return request.getfixturevalue("recorded")
    found = request.getfixturevalue("real")
    monkeypatch.setenv("PATH", f"{found.folder}{os.pathsep}{os.environ['PATH']}")
    found.back()
    return found


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The recorded one, with its commands as processes."""
    found = RecordedHost(tmp_path)
    monkeypatch.setenv("PATH", f"{found.folder}{os.pathsep}{os.environ['PATH']}")
    return found


@pytest.fixture
def recorded(commands, monkeypatch):
    """The same without a process for each command."""
    commands.answers_here(monkeypatch)
    return commands


def make(name: str, unit: str = "engine.service", **given) -> Fault:
    """A driver as the runner creates it, from the topology."""
    handle = targets.given("unit", {"name": unit, **given})
    return faults.make(name, None, targets.on(handle), {})


def kept(state: dict) -> dict:
    """As the undo record keeps it."""
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("name", ALL)
def test_while_it_is_gone_a_timer_of_its_own_would_bring_it_back(host, name):
    unit = "engine@1.service"
    fault = make(name, unit)
    assert fault.deadman is Deadman.TIMER
    state = kept(fault.snapshot())
    before = host.show(unit, "InvocationID")
    fault.arm(state, 300)
    assert host.show(timer_of(unit), "ActiveState") == "active"
    fault.inject(state)
    until(lambda: fault.effective(state), "it is gone")
    restorer = make(name, unit)
    restorer.restore(state)
    until(lambda: restorer.restored(state), "it is back")
    restorer.disarm(state)
    assert (host.show(unit, "InvocationID") == before) is (name == "unit_freeze")
    assert host.show(timer_of(unit), "LoadState") == "not-found"


def test_the_command_lines_are_run_as_processes_are_and_through_a_shell_over_ssh(commands):
    over_ssh_and_back(commands, "unit_stop")


@pytest.mark.parametrize("name", ALL)
def test_over_ssh_it_is_the_same(host, name):
    over_ssh_and_back(host, name)


def over_ssh_and_back(host, name: str) -> None:
    fault = make(name, ssh="ops@gpu1")
    state = kept(fault.snapshot())
    fault.arm(state, 300)
    fault.inject(state)
    until(lambda: fault.effective(state), "it is gone")
    fault.restore(state)
    until(lambda: fault.restored(state), "it is back")
    fault.disarm(state)
    assert {c[-2] for c in host.calls() if c[0] == "ssh"} == {"ops@gpu1"}


@pytest.mark.verify
@pytest.mark.parametrize("name", ALL)
def test_a_unit_of_the_user_is_the_same(real, name, monkeypatch):
    monkeypatch.setenv("PATH", f"{real.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)  # as in a service or a cron job
    real.systemctl("start", "user.service")
    make(name, user=True).systemctl("start")
    for given in ({}, {"ssh": "gpu1"}):
        fault = make(name, user=True, **given)
        state = kept(fault.snapshot())
        fault.arm(state, 2)
        fault.inject(state)
        until(lambda: fault.effective(state), "it is gone")  # noqa: B023
        until(lambda: fault.look()["ActiveState"] == "active", "the timer has brought it back")  # noqa: B023
        until(lambda: fault.look()["FreezerState"] == "running", "the timer has thawed it")  # noqa: B023
        until(lambda: fault.look(timer_of("engine.service"))["LoadState"] == "not-found", "no trace")  # noqa: B023


@pytest.mark.verify
def test_a_unit_that_is_still_stopping_is_started_behind_its_stop(real, monkeypatch):
    monkeypatch.setenv("PATH", f"{real.folder}{os.pathsep}{os.environ['PATH']}")
    real.systemctl("start", "slow.service")
    fault = make("unit_stop", "slow.service")
    state = kept(fault.snapshot())
    fault.inject(state)
    assert real.show("slow.service", "ActiveState") == "deactivating"
    fault.restore(state)
    assert fault.restored(state) is None
    until(lambda: fault.restored(state), "it is back")
    assert real.show("slow.service", "InvocationID") != state["invocation"]


def test_what_does_not_run_cannot_be_taken_away(host):
    host.systemctl("stop", "engine.service")
    for name in ALL:
        with pytest.raises(
            CannotInject, match=r"unit engine\.service is inactive: there is nothing to take away"
        ):
            make(name).snapshot()
        with pytest.raises(CannotInject, match=r"there is no unit nope\.service on gpu1"):
            make(name, "nope.service", ssh="gpu1").snapshot()


@pytest.mark.parametrize("name", ALL)
def test_a_unit_that_someone_restarted_since_is_left_alone(host, name):
    fault = make(name)
    state = kept(fault.snapshot())
    host.systemctl("stop", "engine.service")
    host.systemctl("start", "engine.service")
    with pytest.raises(CannotInject, match="stopped or started by someone else after"):
        fault.inject(state)


def test_an_armed_timer_is_the_lock_and_only_ours_is_disarmed(host):
    ours, theirs = make("unit_stop"), make("unit_freeze")
    state, other = kept(ours.snapshot()), kept(theirs.snapshot())
    ours.arm(state, 300)
    ours.arm(state, 300)  # an earlier call timed out but had arrived
    with pytest.raises(
        CannotInject, match=r"the timer brownout-restore-engine\.timer is armed already \(brownout: start"
    ):
        theirs.arm(other, 300)
    theirs.disarm(other)
    assert host.show("brownout-restore-engine.timer", "ActiveState") == "active"
    ours.disarm(state)
    theirs.arm(other, 300)  # the name is free at once
    theirs.disarm(other)


def test_an_inject_still_on_its_way_is_restored_when_it_arrives(host):
    state = kept(make("unit_stop").snapshot())
    restorer = make("unit_stop")
    restorer.restore(state)
    host.systemctl("stop", "engine.service")  # the dead controller's
    restorer.restore(state)
    until(lambda: restorer.restored(state), "it is back")


@pytest.mark.parametrize(
    ("name", "somebody", "words"),
    [
        ("unit_stop", ("start",), "started by someone else: it is active"),
        ("unit_freeze", ("thaw",), "thawed, stopped or started by someone else"),
    ],
)
def test_a_move_by_someone_else_is_seen(host, name, somebody, words, monkeypatch):
    monkeypatch.setattr("chaos.host.units.LOOK_S", 0.02)
    fault = make(name)
    state = kept(fault.snapshot())
    over, moved, looks, really = threading.Event(), [], [], fault.look

    def look(unit=None):
        found = really(unit)
        if threading.current_thread() is watch:
            looks.append(found)
        return found

    monkeypatch.setattr(fault, "look", look)
    # It looks before the inject has arrived: that is not a move.
    watch = threading.Thread(target=lambda: moved.append(fault.moved(state, over.is_set)))
    watch.start()
    fault.inject(state)
    until(lambda: fault.effective(state), "it is gone")
    before = len(looks)
    until(lambda: len(looks) >= before + 2, "it was seen as we set it, by a look that began since")
    host.systemctl(*somebody, "engine.service")
    watch.join(20)
    over.set()
    assert words in moved[0]


def test_our_own_restore_is_no_move(host, monkeypatch):
    monkeypatch.setattr("chaos.host.units.LOOK_S", 0.02)
    fault = make("unit_stop")
    state = kept(fault.snapshot())
    fault.inject(state)
    over, moved = threading.Event(), []
    watch = threading.Thread(target=lambda: moved.append(fault.moved(state, over.is_set)))
    watch.start()
    until(lambda: fault.effective(state), "it is gone")
    over.set()
    fault.restore(state)
    watch.join(20)
    assert moved == [None]


def test_one_that_was_stopped_while_frozen_stays_stopped_and_one_that_died_is_started(host):
    fault = make("unit_freeze")
    state = kept(fault.snapshot())
    fault.inject(state)
    host.systemctl("kill", "--signal=SIGKILL", "engine.service", check=False)
    until(lambda: host.show("engine.service", "ActiveState") == "failed", "it has died")
    fault.restore(state)
    until(lambda: fault.restored(state), "it is back")

    fault = make("unit_freeze")
    state = kept(fault.snapshot())
    fault.inject(state)
    host.systemctl("stop", "engine.service")
    with pytest.raises(Foreign, match="stopped by someone else and is left alone"):
        fault.restore(state)


@pytest.mark.verify
def test_the_dead_man_alone_restores(real, monkeypatch):
    """Every process of ours is gone: nothing is called after the inject."""
    real.back()
    monkeypatch.setenv("PATH", f"{real.folder}{os.pathsep}{os.environ['PATH']}")
    for name in ALL:
        fault = make(name)
        state = kept(fault.snapshot())
        fault.arm(state, 2)
        fault.inject(state)
        until(lambda: fault.effective(state), "it is gone")  # noqa: B023
        until(
            lambda: (
                real.show("engine.service", "ActiveState") == "active"
                and real.show("engine.service", "FreezerState") == "running"
            ),
            "the timer has brought it back",
        )
        until(
            lambda: real.show("brownout-restore-engine.timer", "LoadState") == "not-found",
            "it leaves no trace",
        )
        fault.disarm(state)


def test_a_unit_that_fails_when_it_is_started_is_tried_again_but_not_in_a_loop(recorded, monkeypatch):
    fault = make("unit_stop")
    state = kept(fault.snapshot())
    fault.inject(state)
    recorded.set({"engine.service": {"ActiveState": "failed", "SubState": "failed", "broken": True}})
    for _ in range(5):
        fault.restore(state)
        assert fault.restored(state) is None
    assert recorded.calls()[1:] == [
        ["systemctl", "reset-failed", "engine.service"],
        ["systemctl", "start", "--no-block", "engine.service"],
    ]
    monkeypatch.setattr("chaos.host.units.START_AGAIN_S", 0.0)
    assert fault.restored(state) is None
    assert len(recorded.calls()) == 5


def test_a_stop_that_was_not_yet_carried_out_does_not_pass_for_restored(recorded):
    fault = make("unit_stop")
    state = kept(fault.snapshot())
    recorded.set({"engine.service": {"Job": "71"}})
    fault.restore(state)
    assert recorded.calls() == [["systemctl", "start", "--no-block", "engine.service"]]
    assert fault.restored(state) is None


def test_what_the_manager_refuses_is_reported_in_its_words(recorded):
    recorded.set({"engine.service": {"refuses": ["start"]}})
    fault = make("unit_stop")
    state = kept(fault.snapshot())
    fault.inject(state)
    for _ in range(2):
        with pytest.raises(
            OSError, match=r"systemctl start --no-block engine\.service: exit 4: Failed to start .*denied"
        ):
            fault.restore(state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"CanFreeze": "no"}, "cannot be frozen: its systemd reports CanFreeze=no"),
        ({"FreezerState": "frozen"}, "is frozen already"),
    ],
)
def test_what_cannot_be_frozen_is_refused(recorded, change, words):
    recorded.set({"engine.service": change})
    with pytest.raises(CannotInject, match=words):
        make("unit_freeze").snapshot()


def test_a_host_without_unified_cgroups_is_refused(recorded):
    recorded._command("cat", "false")
    with pytest.raises(CannotInject, match=r"no unified cgroups \(version 2\)"):
        make("unit_freeze").snapshot()


def test_a_socket_that_would_start_it_again_is_reported(recorded):
    recorded.set({"engine.service": {"TriggeredBy": "engine.socket brownout-restore-engine.timer"}})
    assert make("unit_stop").others() == [
        "engine.socket starts engine.service again when it is next triggered"
    ]
    assert make("unit_freeze").others() == []

"""The commands for systemd: their exact lines, their output, and their timeout."""

import os
import shlex
import signal

import pytest

from chaos.host import spawn
from chaos.host.systemd import PROPERTIES, Manager, shown, timer_of

SSH = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "--"]
XDG = 'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}" exec "$@"'
SHOW = f"--property={','.join(PROPERTIES)}"


@pytest.mark.parametrize(
    ("manager", "line", "argv"),
    [
        # the system's manager, here
        (Manager(), lambda m: m.show("x.service"), ["systemctl", "show", SHOW, "x.service"]),
        (
            Manager(),
            lambda m: m.act("start", "x.service", "--no-block"),
            ["systemctl", "start", "--no-block", "x.service"],
        ),
        # the user's
        (
            Manager(user=True),
            lambda m: m.act("thaw", "x.service"),
            ["systemctl", "--user", "thaw", "x.service"],
        ),
        # on another host: one line for the remote shell
        (
            Manager(ssh="ops@gpu1"),
            lambda m: m.act("stop", r"a\x2db@1.service", "--no-block"),
            [*SSH, "ops@gpu1", r"systemctl stop --no-block 'a\x2db@1.service'"],
        ),
        # a user's manager over ssh: the user's shell may lack XDG_RUNTIME_DIR
        (
            Manager(user=True, ssh="gpu1"),
            lambda m: m.act("start", "x.service"),
            [*SSH, "gpu1", shlex.join(["sh", "-c", XDG, "sh", "systemctl", "--user", "start", "x.service"])],
        ),
        # the dead-man, in whole seconds, never earlier than requested
        (
            Manager(),
            lambda m: m.arm("engine@1.service", "start", 90.2, "brownout: start"),
            ["systemd-run", "--quiet", "--collect", r"--unit=brownout-restore-engine\x401.timer",
             "--description=brownout: start", "--on-active=91s", "--timer-property=AccuracySec=1s",
             "systemctl", "start", "engine@1.service"],
        ),
        (
            Manager(user=True),
            lambda m: m.arm("x.service", "thaw", 5, "d"),
            ["systemd-run", "--user", "--quiet", "--collect", "--unit=brownout-restore-x.timer", "--description=d",
             "--on-active=5s", "--timer-property=AccuracySec=1s", "systemctl", "--user", "thaw", "x.service"],
        ),
    ],
)  # fmt: skip
def test_the_command_line(manager, line, argv):
    assert line(manager) == argv


def test_each_unit_has_a_timer_of_its_own():
    names = ["a.service", "a-b.service", r"a\x2db.service", "a@b.service", "a.b.service", "a.socket.service"]
    timers = [timer_of(n) for n in names]
    assert timers[:2] == ["brownout-restore-a.timer", "brownout-restore-a-b.timer"]
    assert len(set(timers)) == len(timers)


def test_what_show_prints_is_read_and_what_it_does_not_know_is_missing():
    assert shown("ActiveState=active\nDescription=a=b\n\nJob=\n") == {
        "ActiveState": "active",
        "Description": "a=b",
        "Job": "",
    }


def test_the_users_manager_is_found_without_a_session():
    assert Manager(user=True).environment({})["XDG_RUNTIME_DIR"] == f"/run/user/{os.getuid()}"
    assert Manager(user=True).environment({"XDG_RUNTIME_DIR": "/r"})["XDG_RUNTIME_DIR"] == "/r"
    assert "XDG_RUNTIME_DIR" not in Manager().environment({})


def test_a_command_that_hangs_is_killed_and_one_that_fails_is_reported_by_its_last_line():
    with pytest.raises(TimeoutError, match=r"sleep 600: not finished within 0\.05 s"):
        spawn.run(["sleep", "600"], 0.05)
    with pytest.raises(OSError, match=r"exit 3: second$"):
        spawn.must(["sh", "-c", "echo first >&2; echo second >&2; exit 3"], 5)
    assert "ended by SIGKILL" in str(spawn.run(["sh", "-c", "kill -9 $$"], 5))
    # A child process keeps the output open: it is not waited for.
    left = spawn.run(["sh", "-c", "sleep 600 & echo $!"], 5).out
    os.kill(int(left), signal.SIGKILL)

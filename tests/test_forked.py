"""A program forked by a fork server behaves like a separate process: streams, environment, exit status, and its launcher."""

import json
import os
import signal
import subprocess

import pytest

from tests import forked
from tests.forked import Forked, run


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """A fork server that imports nothing, for two modules of the standard library."""
    monkeypatch.setitem(forked.FORK_SERVERS, "json", ())
    monkeypatch.setitem(forked.FORK_SERVERS, "http", ())


def test_it_reads_writes_and_ends_with_its_code(tmp_path):
    done = run("json.tool", "--indent", "1", input='{"a": "ü"}')
    assert (done.returncode, done.stderr, json.loads(done.stdout)) == (0, "", {"a": "ü"})
    done = run("json.tool", input="{")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Expecting property name" in done.stderr
    with open(tmp_path / "log", "w") as log:
        assert Forked("json.tool", "--bogus", stdout=log, stderr=subprocess.STDOUT).wait(60) == 2
    assert "unrecognized arguments: --bogus" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_has_a_session_of_its_own_and_is_ended_by_a_signal(number):
    process = Forked("http.server", "0", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.poll() is None
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.send_signal(number)
    assert process.wait(60) == -number
    process.kill()  # as with a Popen, a signal to a process that has ended is ignored


def test_a_launcher_forks_what_is_listed_and_executes_everything_else(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    commands = json.dumps([["json.tool", "--compact", forked._fork_server("json").address]])
    env = {**os.environ, forked.PYTHON: "/bin/echo", forked.FORKED_COMMANDS: commands}

    def launch(*argv: str) -> tuple[int, str]:
        done = subprocess.run(
            [forked._launcher(), *argv], env=env, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout

    assert launch("-m", "json.tool", "--compact", str(tmp_path / "a.json")) == (0, "[1]\n")
    assert launch("-m", "json.tool", "--compact", str(tmp_path / "none.json"))[0] == 2
    assert launch("-m", "json.tool", "--other") == (0, "-m json.tool --other\n")

"""`python -m chaos watch` on a terminal of its own."""

import codecs
import os
import pty
import re
import subprocess

import pytest

from tests.chaos.stand import ROOT
from tests.chaos.watching import VLLM, command, environment
from tests.scenarios.server import HANG, Server


class Screen:
    """A watch on a terminal of its own."""

    def __init__(self, url: str, *more: str, **env: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command(url, *more), cwd=ROOT, env=environment(**env), stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: _own_terminal(slave),
        )  # fmt: skip
        os.close(slave)
        self.shown = ""
        # What is read may end in the midst of a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def until(self, words: str) -> None:
        while words not in self.shown:
            self.shown += self._decoder.decode(os.read(self._master, 65536))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def rest(self) -> str:
        try:
            while data := os.read(self._master, 65536):
                self.shown += self._decoder.decode(data)
        except OSError:
            pass  # the other side has closed
        return self.shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def _own_terminal(slave: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def test_ctrl_c_on_a_terminal_shows_the_summary_while_a_request_hangs():
    with Server([VLLM], [HANG]) as server:
        screen = Screen(server.url, "--every", "1s")
        try:
            screen.until("… waiting")
            screen.type(b"\x03")
            shown = screen.rest()
            assert screen.process.wait(30) == 0
        finally:
            screen.close()
    assert "Traceback" not in shown
    assert "\x1b[32mPRIMARY \x1b[0m" in shown
    assert re.search(r"watched \d+ s: \d sent, 1 good, 0 cut, 0 failed, \d still waiting", shown)


@pytest.mark.verify
def test_no_color_is_respected_on_a_terminal():
    with Server([VLLM]) as server:
        screen = Screen(server.url, "--count", "2", NO_COLOR="1")
        try:
            shown = screen.rest()
        finally:
            screen.close()
    assert not re.search(r"\x1b\[[0-9;]+m", shown)
    assert "watched" in shown

"""make up: the running stack holds no file descriptor of its caller."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.chaos.stand import until

ROOT = Path(__file__).parents[2]
# Replaces the stack, which takes 30 s to start: it prints its first line and keeps running.
STACK = """#!/bin/sh
echo '{"topology": "none"}'
echo $$ > running
exec sleep 1000
"""
UP = "import sys; sys.executable = './stack'; from embedded.__main__ import main; sys.argv[1:] = sys.argv[1:]; main()"


def test_the_output_of_make_up_ends_although_the_stack_stays_up(tmp_path):
    program = tmp_path / "stack"
    program.write_text(STACK)
    program.chmod(0o755)
    more, kept = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", UP, "up", "--topology", str(ROOT / "topologies/embedded.yaml")],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, pass_fds=(kept,), timeout=60, text=True,
        )  # fmt: skip
        assert "starting the embedded stack" in done.stdout
        pid = int(
            until(lambda: (tmp_path / "running").exists() and (tmp_path / "running").read_text(), "it runs")
        )
        held = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
        assert {"/dev/null", str(tmp_path / ".stack/up/stack.log")} <= held
        assert f"pipe:[{os.fstat(more).st_ino}]" not in held
    finally:
        if (tmp_path / "running").exists():
            os.kill(int((tmp_path / "running").read_text()), signal.SIGKILL)
        os.close(more)
        os.close(kept)

"""make up: what it leaves running holds nothing of whoever called it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.chaos.stand import until

ROOT = Path(__file__).parents[2]
# In the place of the stack, which takes half a minute: it says its first line, and stays.
STACK = """#!/bin/sh
echo '{"topology": "none"}'
echo $$ > standing
exec sleep 1000
"""
UP = "import sys; sys.executable = './stack'; from embedded.__main__ import main; sys.argv[1:] = sys.argv[1:]; main()"


def test_who_reads_the_output_of_make_up_reads_its_end_although_the_stack_stays(tmp_path):
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
            until(
                lambda: (tmp_path / "standing").exists() and (tmp_path / "standing").read_text(), "it stands"
            )
        )
        held = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
        assert {"/dev/null", str(tmp_path / ".stack/up/stack.log")} <= held
        assert f"pipe:[{os.fstat(more).st_ino}]" not in held
    finally:
        if (tmp_path / "standing").exists():
            os.kill(int((tmp_path / "standing").read_text()), signal.SIGKILL)
        os.close(more)
        os.close(kept)

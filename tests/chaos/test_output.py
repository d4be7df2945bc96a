"""The output of a command whose reader has gone or is stopped."""

import io
import os
import subprocess
import sys

from chaos import output
from tests.chaos.stand import ROOT


def test_a_closed_output_does_not_change_the_exit_code():
    """At its end the interpreter retries what could not be written, and would exit with 120."""
    code = "import sys; from chaos import output; output.out('one'); output.err('two'); output.out('three'); output.flush(); sys.exit(4)"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=write, stderr=write, timeout=60)
    os.close(write)
    assert done.returncode == 4


def test_a_full_disk_and_closed_outputs_end_nothing():
    code = "import sys; from chaos import output; output.out('one'); output.err('two'); output.flush(); sys.exit(4)"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=full, timeout=60)
    assert done.returncode == 4
    command = f'exec {sys.executable} -c "{code}" >&- 2>&-'
    assert subprocess.run(["sh", "-c", command], cwd=ROOT, timeout=60).returncode == 4


def test_characters_that_the_terminal_lacks_are_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    output.out("denied: „nein“")
    output.flush()
    assert raw.getvalue() == b"denied: \\u201enein\\u201c\n"


def test_a_stopped_reader_blocks_nothing_and_gets_every_line_later(monkeypatch):
    read, write = os.pipe()
    lines = [f"{n} {'x' * 500}" for n in range(1000)]  # more than a pipe holds
    with open(write, "w") as to, open(read) as reader:
        monkeypatch.setattr(sys, "stdout", to)
        for line in lines:
            output.out(line)
        assert [reader.readline().rstrip() for _ in lines] == lines
        output.flush()

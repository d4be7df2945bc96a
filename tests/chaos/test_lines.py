"""Messages of the chaos process to its parent: whole lines, also when several threads write at once."""

import io
import sys
import threading

from chaos import output
from chaos.__main__ import _to_parent
from contract.messages import End, read


def test_lines_of_several_threads_do_not_mix(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda n=n: [_to_parent(End(f"{n} {i}", [])) for i in range(300)])
            for n in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        output.flush()
    finally:
        sys.setswitchinterval(interval)
    lines = [read(line).reason.split() for line in stream.buffer.getvalue().decode().splitlines()]
    for n in range(6):
        assert [int(i) for thread, i in lines if int(thread) == n] == list(range(300))

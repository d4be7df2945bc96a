"""What the chaos process says to its parent: whole lines, also when several of its threads speak at once."""

import io
import json
import sys
import threading

from chaos import aloud
from chaos.__main__ import _to_parent


def test_lines_of_several_threads_do_not_mix(monkeypatch):
    said = io.TextIOWrapper(io.BytesIO(), write_through=True)
    monkeypatch.setattr(sys, "stdout", said)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda n=n: [_to_parent({"thread": n, "n": i}) for i in range(300)])
            for n in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        aloud.flush()
    finally:
        sys.setswitchinterval(interval)
    lines = [json.loads(line) for line in said.buffer.getvalue().decode().splitlines()]
    for n in range(6):
        assert [line["n"] for line in lines if line["thread"] == n] == list(range(300))

"""The truth server as a process, and its ledger: when it sent each token, on the machine's monotonic clock."""

import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple, Self

import psutil

SOURCE = Path(__file__).parent / "truth_server.c"
_HEAD = struct.Struct("32sqq")


class Mode(NamedTuple):
    """What the server sends, given as the first part of the path."""

    tokens: int
    every_ms: int  # 0: all at once
    after_ms: int

    @property
    def path(self) -> str:
        return f"/{self.tokens}x{self.every_ms}+{self.after_ms}"


class SentAnswer(NamedTuple):
    """One answer. Readings of the monotonic clock, in seconds."""

    received_at: float
    sent_at: tuple[float, ...]  # one for each token, read right before its write


class TruthServer:
    """Compiled and started in `folder`; its url has no mode yet. `close`, then `ledger`."""

    def __init__(self, folder: Path, core: int | None = None, ledger: bool = True) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise SystemExit("the truth server is written in C: a compiler is needed (cc, gcc or clang)")
        program = folder / "truth_server"
        self._ledger = folder / "ledger" if ledger else Path("/dev/null")
        if not program.exists():
            subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)
        self._process = subprocess.Popen([program, self._ledger], stdout=subprocess.PIPE, text=True)
        if core is not None:
            psutil.Process(self._process.pid).cpu_affinity([core])
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        used = psutil.Process(self._process.pid).cpu_times()
        return float(used.user + used.system)

    def close(self) -> None:
        """Safe to call twice."""
        self._process.terminate()
        self._process.wait()

    def ledger(self) -> dict[str, SentAnswer]:
        """By request id. After `close`."""
        data, at, found = self._ledger.read_bytes(), 0, {}
        while at < len(data):
            name, received, count = _HEAD.unpack_from(data, at)
            sent = struct.unpack_from(f"{count}q", data, at + _HEAD.size)
            at += _HEAD.size + 8 * count
            found[name.rstrip(b"\0").decode()] = SentAnswer(received / 1e9, tuple(s / 1e9 for s in sent))
        return found

"""Reports on mutated copies of a run folder, one after another: `python -m tests.analysis.mutated RUN SEED COUNT`.

Prints one line for each mutation before it is read, and its end after it: `report`, `refused` or the traceback's last line. A
process of its own, so that a crash is seen; its memory and time are limited.
"""

import random
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from analysis import frames, judge, report
from analysis.evidence import Evidence
from contract.refusal import Refusal
from tests.analysis.reports import pictures

MEMORY = 4 * 2**30
SECONDS = 60
# What is put in: numbers at the limits of their types, structure of each format, and words of other types.
TOKENS = (
    b"\0" * 8, b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\x80", b"NaN", b"1e999", b"-1", b"1e18", b"99999999999999999999",
    b"null", b"true", b"{}", b"[]", b'""', b'"x"', b"[[[[", b"}", b"\n", b": ", b"- ", b"&a ", b"*a", b"!!int ", b"<<: ", b"\\ud800",
    b"'", b'"', b"\t", b"#", b"? ",
)  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few small changes."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, token = rng.randrange(len(found) + 1), rng.choice(TOKENS)
        match rng.randrange(6):
            case 0 if found:
                found[min(at, len(found) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                found[at : at + len(token)] = token
            case 2:
                found[at:at] = token
            case 3:
                del found[at : at + rng.randrange(1, 64)]
            case 4:
                other = rng.randrange(len(found) + 1)
                found[at:at] = found[other : other + rng.randrange(1, 256)]
            case _:
                _replace_word(found, at, token)
    return bytes(found)


def _replace_word(found: bytearray, at: int, token: bytes) -> None:
    """A whole word of a text: a number, a name."""
    ends = b" ,:\n{}[]\"'\0"
    first = next((i + 1 for i in range(min(at, len(found)) - 1, -1, -1) if found[i] in ends), 0)
    last = next((i for i in range(at, len(found)) if found[i] in ends), len(found))
    found[first:last] = token


def end_of(run: Path) -> str:
    try:
        evidence = Evidence(frames.read(run))
        with pictures():
            report.write(evidence, judge.judge(evidence))
    except Refusal as e:
        return f"refused: {' '.join(str(e).split())[:160]}"
    return "; ".join(["report", *evidence.thrown.parts()])


def main(run: Path, seed: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    files = sorted(p.relative_to(run) for p in run.rglob("*") if p.is_file())
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        file = rng.choice(files)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "run"
            shutil.copytree(run, copy)
            (copy / file).write_bytes(mutate((run / file).read_bytes(), rng))
            print(f"{number} {file}", end=" ", flush=True)
            signal.alarm(SECONDS)
            print(end_of(copy), flush=True)
            signal.alarm(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

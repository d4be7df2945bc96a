"""Checks before the run changes anything: refuses now what chaos or the analysis would refuse later."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contract import printable
from contract.refusal import EXIT_BAD_INPUT, EXIT_INTERNAL_ERROR, InternalError, Refusal, how_ended


def commands(topology: Path, timeline: Path) -> tuple[list[str], list[str]]:
    """Chaos checks the steps of a timeline, the analysis its expectations."""
    where = ["--topology", str(topology)]
    return (
        [sys.executable, "-m", "chaos", "check", *where, "--timeline", str(timeline)],
        [sys.executable, "-m", "analysis", "check", str(timeline), *where],
    )


def must_pass(*argvs: Sequence[str], popen: Callable[..., Any] = subprocess.Popen) -> None:
    """Run the commands in parallel. Raises Refusal with the messages of all failures, or InternalError."""
    running = [
        popen(c, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for c in argvs
    ]
    messages = [process.communicate()[1].strip() for process in running]
    refused, broken = [], []
    for argv, process, message in zip(argvs, running, messages, strict=True):
        if process.returncode == EXIT_BAD_INPUT:
            refused.append(message)
        elif process.returncode == EXIT_INTERNAL_ERROR:
            print(printable.lines(message), file=sys.stderr, flush=True)
            broken.append(
                how_ended(" ".join(argv), process.returncode) + "; its traceback is on the terminal"
            )
        elif process.returncode:
            broken.append(message or f"{' '.join(argv)} failed")
    if broken:
        raise InternalError("\n".join([*refused, *broken]))
    if refused:
        raise Refusal("\n".join(refused))


def must_be_writable(results: Path) -> None:
    """Raises Refusal if no run folder can be created."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        trial = results / f".write-{os.getpid()}"
        trial.touch()
        trial.unlink()
    except OSError as e:
        raise Refusal(
            f"{results}: cannot be written to: {e.strerror}; make it writable or give --results"
        ) from None


def must_be_free(host: str, port: int, options: str) -> None:
    """Raises Refusal if nothing can listen on this address; `options`: those that set it. An empty host is all addresses."""
    try:
        socket.create_server((host, port)).close()
    except OSError as e:
        where = f"{host or 'all addresses'}, port {port}"
        raise Refusal(
            f"{options}: cannot listen on {where}: {e.strerror}; give another address or port"
        ) from None

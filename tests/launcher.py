"""Replaces Python's executable where a forked Locust starts a process; `forked.py` writes it to a file. It imports little. It
has listed commands forked, and executes everything else.
"""

import json
import os
import socket
import sys


def main() -> None:
    python, commands = (
        os.environ.pop("BROWNOUT_TESTS_PYTHON"),
        os.environ.pop("BROWNOUT_TESTS_FORKED_COMMANDS"),
    )
    argv = sys.argv[1:]
    for module, command, address in json.loads(commands):
        if argv[:3] == ["-m", module, command]:
            _end_as(_forked(address, argv[1:]))
    os.execv(python, [python, *argv])


def _forked(address: str, argv: list[str]) -> int:
    """Waits until the program has ended; its wait status."""
    status, theirs = os.pipe()
    message = json.dumps({"argv": argv, "env": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect("\0" + address)
        socket.send_fds(server, [len(message).to_bytes(4, "little")], [0, 1, 2, theirs])
        server.sendall(message)
        server.recv(4)
    os.close(theirs)
    return int.from_bytes(os.read(status, 8), "little")


def _end_as(status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


main()

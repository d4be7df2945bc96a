"""Stands in the place of Python's executable where a forked Locust starts something: `forked.py` writes it out. It imports
little; what it does not have forked it becomes.
"""

import json
import os
import socket
import sys


def main() -> None:
    python, brief = os.environ.pop("BROWNOUT_TESTS_PYTHON"), os.environ.pop("BROWNOUT_TESTS_BRIEFLY")
    argv = sys.argv[1:]
    for module, command, address in json.loads(brief):
        if argv[:3] == ["-m", module, command]:
            _end_as(_forked(address, argv[1:]))
    os.execv(python, [python, *argv])


def _forked(address: str, argv: list[str]) -> int:
    """Its wait status, when it has ended."""
    status, theirs = os.pipe()
    told = json.dumps({"argv": argv, "env": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as nest:
        nest.connect("\0" + address)
        socket.send_fds(nest, [len(told).to_bytes(4, "little")], [0, 1, 2, theirs])
        nest.sendall(told)
        nest.recv(4)
    os.close(theirs)
    return int.from_bytes(os.read(status, 8), "little")


def _end_as(status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


main()

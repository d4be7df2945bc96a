"""The project's locustfile, whose runs end without a report: for tests of what is recorded, and of what a page shows."""

import subprocess
from types import SimpleNamespace
from typing import Any

import locustfile as house
from contract.refusal import EXIT_UNKNOWN
from locustfile import *  # noqa: F403  Locust looks for what it takes in this file


def _run(argv: list[str], **how: Any) -> subprocess.CompletedProcess:
    if argv[1:4] == ["-m", "analysis", "report"]:
        return subprocess.CompletedProcess(argv, EXIT_UNKNOWN, stdout="")
    return subprocess.run(argv, **how)


_stand_in: Any = SimpleNamespace(**vars(subprocess) | {"run": _run})  # in the place of a module
house.subprocess = _stand_in

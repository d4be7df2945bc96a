"""A small run with a master and its workers. The gateway is a server of the tests, and the tier is a file."""

import os
import random
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from embedded.ports import free_port
from tests.chaos.stand import ROOT
from tests.contract.exchanges import WHOLE, chunked, head
from tests.forked import Forked
from tests.scenarios.server import Server

GOOD = head(
    "200 OK", "transfer-encoding: chunked", "x-litellm-model-group: b", "x-litellm-version: 1.108.7"
) + chunked(*WHOLE)  # fmt: skip
TIMELINE = """
hypothesis: the workers' records are whole
baseline: {baseline}
settle: 3s
max: 2m
steps:
  - {{name: away, at: {baseline}, for: 2s, fault: command, target: one}}
expect:
  continuity: {{min_good: 0.5}}
"""


class SmallRun:
    """Locust processes with the project's locustfile: a master and its workers, or one process."""

    def __init__(self, folder: Path, gateway: Server, baseline: str = "4s") -> None:
        self.folder, self.results = folder, folder / "results"
        there = folder / "there"
        there.touch()
        topology = {
            "gateway": {"url": gateway.url, "model": "b"},
            "tiers": [
                {
                    "name": "one",
                    "match": {"group": "b"},
                    "handles": {
                        "command": {
                            "inject": ["rm", "-f", str(there)],
                            "check": ["test", "-e", str(there)],
                            "restore": ["touch", str(there)],
                        },
                        "unprotected": True,
                    },
                }
            ],
        }
        self.topology = folder / "topology.yaml"
        self.topology.write_text(yaml.safe_dump(topology))
        self.timeline = folder / "small_run.yaml"
        self.timeline.write_text(TIMELINE.format(baseline=baseline))
        self.port = str(free_port(random.Random()))
        self.started: list[subprocess.Popen | Forked] = []

    def start(
        self, *more: str, within: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> subprocess.Popen | Forked:
        """`within`: a command that runs it. `env`: added to this process's own."""
        arguments = ("-f", "locustfile.py", "--loglevel", "WARNING", *more)
        around, out, err = os.environ | (env or {}), subprocess.PIPE, subprocess.STDOUT
        process = (
            subprocess.Popen(
                [*within, sys.executable, "-m", "locust", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                start_new_session=True, env=around, stdout=out, stderr=err,
            )
            if within else Forked("locust", *arguments, env=around, stdout=out, stderr=err)
        )  # fmt: skip
        self.started.append(process)
        return process

    def master(self, *more: str, users: int = 60) -> subprocess.Popen | Forked:
        return self.start(
            "--headless", "--only-summary", "--topology", str(self.topology), "--timeline", str(self.timeline),
            "--results", str(self.results), "--users", str(users), "--spawn-rate", str(users), "--stop-timeout", "10",
            "--master-bind-host", "127.0.0.1", "--master-bind-port", self.port, "--master-host", "127.0.0.1", "--master-port", self.port, *more,
        )  # fmt: skip

    def worker(self, *more: str, **where: Any) -> subprocess.Popen | Forked:
        return self.start(
            "--worker", "--master-host", "127.0.0.1", "--master-port", self.port, *more, **where
        )

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()


def nonces(server: Server) -> list[str]:
    """Nonces of all requests that reached the server, in order."""
    return [
        found[0].decode() for r in server.requests for found in [re.search(rb"req-[0-9a-z-]+", r)] if found
    ]

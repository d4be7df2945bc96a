"""Locust's web UI in a separate process, with the requests that its page sends."""

import json
import os
import random
import re
import signal
import threading
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from contract.run import read_manifest
from embedded.ports import free_port
from tests.chaos.stand import until
from tests.whole.stack import latest, locust


class Ui:
    """A context: from the first page that it serves until it has ended. `out`: its lines so far."""

    def __init__(self, topology: Path, timeline: Path, results: Path, *more: str) -> None:
        port = free_port(random.Random())
        self.url, self.results = f"http://127.0.0.1:{port}", results
        self.out: list[str] = []
        where = ("--web-host", "127.0.0.1", "--web-port", str(port))
        self._process = locust(topology, timeline, results, *where, *more, headless=False)
        lines = self._process.stdout
        assert lines is not None
        threading.Thread(target=self.out.extend, args=(lines,), daemon=True).start()

    def __enter__(self) -> "Ui":
        try:
            until(self._answers, "the web UI answers", 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGTERM)
        self.code = self._process.wait(90)
        print("".join(self.out))

    def _answers(self) -> bool:
        assert self._process.poll() is None, "".join(self.out)
        try:
            return bool(self.get("/"))
        except OSError:
            return False

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read().decode()

    def post(self, path: str, **form: object) -> dict[str, Any]:
        """Locust answers /stop when all has stopped: the users have finished, chaos has restored, the report is made."""
        data = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(self.url + path, data, timeout=120) as answer:
            return json.load(answer)

    def swarm(self, users: object = 6, **form: object) -> dict[str, Any]:
        return self.post("/swarm", user_count=users, spawn_rate=6, **form)

    def start(self, **form: object) -> None:
        answer = self.swarm(**form)
        assert answer["success"], answer

    def stats(self) -> dict[str, Any]:
        return json.loads(self.get("/stats/requests"))

    def states_until(self, state: str, within_s: float = 90, users: int = 0) -> list[str]:
        """All states until this one, with at least so many users; each once, in order."""
        seen: list[str] = []

        def look() -> bool:
            stats = self.stats()
            if seen[-1:] != [stats["state"]]:
                seen.append(stats["state"])
            return stats["state"] == state and stats["user_count"] >= users

        until(look, f"the state is {state}", within_s)
        return seen

    def aggregated(self) -> dict[str, Any]:
        return next(row for row in self.stats()["stats"] if row["name"] == "Aggregated")

    def template(self) -> dict[str, Any]:
        """The arguments of the page's template."""
        found = re.search(r"window\.templateArgs = (.*)", self.get("/"))
        assert found is not None
        return json.loads(found[1])

    def runs(self) -> list[Path]:
        return sorted(self.results.glob("2*"))

    def manifest(self) -> dict[str, Any]:
        return read_manifest(latest(self.results))

    def wait(self, within_s: float) -> int:
        """Its exit code, where it ends by itself."""
        return self._process.wait(within_s)

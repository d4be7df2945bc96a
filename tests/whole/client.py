"""Runs `client_main.py` beside the tests."""

import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from tests.forked import Forked


class ClientProcess:
    """Requests that are under way; `records` waits for them."""

    def __init__(
        self, path: Path, requests: list[dict[str, Any]], at_once: int = 1, deadlines: dict[str, float] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        pipe = subprocess.PIPE
        self._process = Forked(
            "tests.whole.client_main", stdin=pipe, stdout=pipe, env={**os.environ, **(env or {})}
        )
        self._input = json.dumps(
            {"path": str(path), "prefix": secrets.token_hex(3), "requests": requests, "deadlines": deadlines or {}, "at_once": at_once}
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(self._input)
        self._process.stdin.close()
        self._process.stdin = None

    def records(self, within_s: float = 120) -> list[dict[str, Any]]:
        try:
            out, _ = self._process.communicate(timeout=within_s)
        finally:  # after a timeout it must not send requests during the next test
            self._process.kill()
        assert self._process.returncode == 0
        return json.loads(out)

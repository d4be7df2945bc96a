"""Runs `direct_load_main.py` beside the tests."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.forked import run


def direct_load(
    folder: Path, ports: Mapping[str, int], *, requests: int, max_tokens: int, users: int = 1, pace_s: float = 0.0,
    streamed: float = 1.0, arrivals: str | None = None,
) -> tuple[dict[str, Any], Path]:  # fmt: skip
    """Sends load to engines, by name, on these ports; returns the result of `direct_load_main.main`, and the run's folder."""
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    topology = {
        "gateway": {"url": next(iter(urls.values())), "model": "m"},
        "tiers": [
            {"name": name, "match": {"group": name}, "url": url, "model": "m", "ignore_eos": True}
            for name, url in urls.items()
        ],
    }
    path = folder / "direct_load.yaml"
    path.write_text(yaml.safe_dump(topology))
    given = {
        "path": str(path), "results": str(folder / "results"), "prefix": secrets.token_hex(3), "users": users,
        "pace_s": pace_s, "requests": requests, "max_tokens": max_tokens, "streamed": streamed, "arrivals": arrivals,
    }  # fmt: skip
    done = run("tests.whole.direct_load_main", input=json.dumps(given), timeout=None)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    return result, Path(result["run"])

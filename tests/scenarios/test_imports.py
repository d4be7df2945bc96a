"""Importing a scenario opens, starts and draws nothing, because Locust forks after the import."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

LOOK = """
import gc, os, pkgutil, random
import gevent, locust, pyarrow, psutil, httptools, pydantic   # exclude what libraries open
def look():
    greenlets = [o for o in gc.get_objects() if isinstance(o, gevent.Greenlet)]
    fds = sorted(os.readlink(f"/proc/self/fd/{f}") for f in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{f}"))
    return len(greenlets), fds, len(os.listdir("/proc/self/task")), hash(random.getstate())
before = look()
import scenarios
names = [m.name for m in pkgutil.walk_packages(scenarios.__path__, "scenarios.")]
for name in names:
    __import__(name)
after = look()
assert before == after, f"{before} != {after}"
print(len(names))
"""

LOCUST_FREE = """
import pkgutil, sys
import scenarios.gateway.prompts, scenarios.gateway.warmup, scenarios.run
for module in pkgutil.iter_modules(scenarios.run.__path__, "scenarios.run."):
    if module.name != "scenarios.run.locust_events":
        __import__(module.name)
assert "locust" not in sys.modules
"""


def _run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_every_scenario_opens_starts_and_draws_nothing():
    assert int(_run(LOOK)) >= 15


def test_what_needs_no_locust_does_not_import_it():
    _run(LOCUST_FREE)

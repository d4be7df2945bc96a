"""llama.cpp's Python server for tests: a separate program, which is compiled at installation.

    python3.11 -m venv .venv-llama-cpp-python
    .venv-llama-cpp-python/bin/pip install "llama-cpp-python[server]==0.3.36"      # a compiler and cmake; ten minutes

LLAMA_CPP_PYTHON names another Python that has it.
"""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from embedded.ports import free_port
from tests.embedded.engine import HOUSE, until
from tests.embedded.llamacpp import MODELS, PYTHON, Llama

HAS_IT = Path(
    os.environ.get("LLAMA_CPP_PYTHON", HOUSE / ".venv-llama-cpp-python" / "bin" / "python")
).absolute()
needs_it = pytest.mark.skipif(
    not HAS_IT.exists(),
    reason="the Python server is not installed: tests/embedded/llamacpp_python.py has the installation",
)


class PythonServer(Llama):
    """The server has no /health, no /slots and no /metrics."""

    def healthy(self) -> bool:
        assert self.process.poll() is None, f"it ended with {self.process.returncode}"
        try:
            return self.request("/openapi.json").status == 200
        except OSError:
            return False


def model() -> Path:
    """The model of the native server, created by the same code."""
    code = "from pathlib import Path; from embedded.llamacpp import model; print(model.at(Path('.stack/models'), 0, -8.0))"
    ended = subprocess.run([PYTHON, "-c", code], cwd=HOUSE, check=True, capture_output=True, text=True)
    return MODELS / Path(ended.stdout.strip()).name


def line(port: int, *parameters: str) -> list[str]:
    """The server's command line."""
    fixed = ["--model", str(model()), "--model_alias", "m", "--host", "127.0.0.1", "--port", str(port)]
    return [str(HAS_IT), "-m", "llama_cpp.server", *fixed, "--n_threads", "1", "--n_ctx", "8192", *parameters]


@contextmanager
def python_server(*parameters: str) -> Iterator[PythonServer]:
    port = free_port(random.Random())  # it does not share its port
    process = subprocess.Popen(line(port, *parameters), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = PythonServer(process, port, HOUSE)
    try:
        until(found.healthy)
        yield found
    finally:
        process.kill()
        process.wait()
